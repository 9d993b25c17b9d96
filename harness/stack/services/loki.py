"""Loki, from the production configuration: its addresses and directories are this stack's, and it is ready at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import orjson

from harness.model.source import load_documents
from harness.model.stackfile import Spec
from harness.stack.probes import http_get
from harness.stack.services.recipe import Command, Context, Plan, Recipe
from harness.stack.services.rendering import dump_yaml

HOST = "127.0.0.1"
RUNTIME = "runtime.yaml"  # in the service's directory: what Loki reads again and again; faults change it
CALM = "overrides: {}\n"
# What says where data go; without it all of them go below common.path_prefix, or to the object store.
_PLACES = frozenset({"storage", "filesystem", "tsdb_shipper", "boltdb_shipper", "working_directory"})
_DEFAULT: dict[str, Any] = {
    "auth_enabled": False,
    "schema_config": {
        "configs": [
            {
                "from": "2024-01-01",
                "store": "tsdb",
                "object_store": "filesystem",
                "schema": "v13",
                "index": {"prefix": "index_", "period": "24h"},
            }
        ]
    },
    "storage_config": {"use_thanos_objstore": True},
    "analytics": {"reporting_enabled": False},
}


def configured(
    path: Path | None, directory: PurePath, http: int, grpc: int, store: PurePath, listen: str = HOST
) -> dict[str, Any]:
    """The configuration at `path` for one stack, as `rendered` has it; without one, our own. Raises UsageError."""
    return rendered(_DEFAULT if path is None else _read(path), directory, http, grpc, store, listen)


def rendered(
    config: Mapping[str, Any],
    directory: PurePath,
    http: int,
    grpc: int,
    store: PurePath | None = None,
    listen: str = HOST,
) -> dict[str, Any]:
    """A copy of a Loki configuration that listens on `http` and `grpc` of the loopback, or at `listen`, and keeps all
    below `directory`, or below `store` if that is another.

    A Loki that is alone need not wait for others: ring in memory, no settling, and the first look-up of its own
    scheduler after 250 ms instead of 10 s. Its runtime configuration is a file of this stack, read twice a second.
    """
    store = store or directory
    ingester, common = config.get("ingester") or {}, config.get("common") or {}
    storage = {name: one for name, one in (config.get("storage_config") or {}).items() if name not in _PLACES}
    ingester = {**ingester, "wal": {name: one for name, one in (ingester.get("wal") or {}).items() if name != "dir"}}
    return {
        **config,
        "server": {
            **(config.get("server") or {}),
            "http_listen_address": listen,
            "http_listen_port": http,
            "grpc_listen_address": listen,
            "grpc_listen_port": grpc,
        },
        "common": {
            **{name: one for name, one in common.items() if name not in _PLACES},
            "instance_addr": HOST,
            "path_prefix": str(store / "data"),
            "replication_factor": 1,
            "ring": {"kvstore": {"store": "inmemory"}, "instance_interface_names": ["lo"]},
        },
        "storage_config": {
            **storage,
            "use_thanos_objstore": True,
            "object_store": {"filesystem": {"dir": str(store / "chunks")}},
        },
        "ruler_storage": {"backend": "local", "local": {"directory": str(store / "rules")}},
        "ingester": {
            **ingester,
            "lifecycler": {**(ingester.get("lifecycler") or {}), "final_sleep": "0s", "min_ready_duration": "0s"},
        },
        "compactor": {name: one for name, one in (config.get("compactor") or {}).items() if name not in _PLACES},
        "frontend": {**(config.get("frontend") or {}), "scheduler_dns_lookup_period": "250ms"},
        "runtime_config": {"file": str(directory / RUNTIME), "period": "500ms"},
    }


def _render(context: Context) -> Plan:
    tool = context.tool("loki")
    path = context.directory / "loki.yaml"
    http, grpc = context.ports["http"], context.ports["grpc"]
    dump_yaml(path, configured(context.config, context.directory, http, grpc, context.store))
    (context.directory / RUNTIME).write_text(CALM)
    return Plan(Command((str(tool.path), f"-config.file={path}"), tool.env))


def _read(path: Path) -> Mapping[str, Any]:
    (document, *_) = load_documents(path)
    config = document.data
    if not isinstance(config, dict) or "schema_config" not in config:
        raise document.error((), "loki-config", "no schema_config in it", "Add one, with schema v13 and store tsdb.")
    sections = ("server", "common", "storage_config", "ingester", "frontend", "compactor")
    if wrong := [name for name in sections if not isinstance(config.get(name) or {}, dict)]:
        raise document.error((wrong[0],), "loki-config", f"{wrong[0]} is not a mapping", "See Loki's reference.")
    return config


def _examine(path: Path, _spec: Spec) -> Sequence[Path]:
    _read(path)
    return ()


def _probe(context: Context) -> str | None:
    address = context.address("http")
    if http_get(address, "/ready") is None:
        return None
    told = http_get(address, "/loki/api/v1/status/buildinfo")
    return None if told is None else str(orjson.loads(told)["version"])


RECIPE = Recipe(
    tools=("loki",),
    ports=("http", "grpc"),
    render=_render,
    probe=_probe,
    grace=3.0,
    metrics=("http", "/metrics"),
    examine=_examine,
)
