"""Milvus standalone with the etcd that is built into it and local storage, as its own script runs the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.stack.docker.services.declared import Declared, Rendered, Told
from harness.stack.services.milvus import tuned
from harness.stack.services.rendering import dump_yaml

_PLACE = "/milvus/configs"
# As the image's own milvus.yaml has them; without one, every part of Milvus would want the same.
_PORTS = {
    "rootCoord": 53100,
    "proxy": 19530,
    "queryCoord": 19531,
    "queryNode": 21123,
    "indexNode": 21121,
    "dataCoord": 13333,
    "dataNode": 21124,
}


def _render(told: Told) -> Rendered:
    store, etcd = told.store("/var/lib/milvus"), told.directory / "embedEtcd.yaml"
    dump_yaml(etcd, _etcd(f"{store}/etcd"))
    settings = tuned()
    for part, port in _PORTS.items():
        settings.setdefault(part, {})["port"] = port
    settings["proxy"]["internalPort"] = 19529
    settings["etcd"] = {
        "use": {"embed": True},
        "data": {"dir": f"{store}/etcd"},
        "config": {"path": f"{_PLACE}/embedEtcd.yaml"},
    }
    settings["localStorage"] = {"path": f"{store}/data"}
    settings["rocksmq"] |= {"path": f"{store}/rdb_data"}
    # A single file: the image keeps others beside it, which must stay.
    env = {"DEPLOY_MODE": "STANDALONE", **as_environment(settings)}
    return Rendered(("milvus", "run", "standalone"), env, {etcd: f"{_PLACE}/embedEtcd.yaml"})


def as_environment(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings of milvus.yaml as variables, which beat every file: common.storageType is COMMON_STORAGETYPE."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key.upper()}"
        if isinstance(value, Mapping):
            found |= as_environment(value, f"{name}_")
        else:
            found[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _etcd(store: str) -> dict[str, object]:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return {
        "name": "default",
        "data-dir": store,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": True,
        "log-level": "warn",
    }


DECLARED = Declared({"grpc": _PORTS["proxy"], "metrics": 9091}, _render, security=("seccomp=unconfined",))
