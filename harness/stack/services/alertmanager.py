"""Alertmanager, from the production configuration: its receivers all notify this stack's webhook sink, each at a path
of its own, and durations are divided by the stack's time scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from harness.core.errors import UsageError
from harness.model.source import load_documents
from harness.model.stackfile import Spec
from harness.stack.probes import http_get
from harness.stack.services.recipe import Command, Context, Plan, Recipe, Tool
from harness.stack.services.relocated import check_shown, shown_its_files
from harness.stack.services.rendering import dump_yaml, scaled

TEMPLATES = "prometheus/alertmanager/default.tmpl"
FLAGS = (
    "--cluster.listen-address=",  # alone: no port for peers
    "--log.level=info",
)
_DURATIONS = ("group_wait", "group_interval", "repeat_interval")
_ROOT = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}  # Alertmanager's own defaults
_DEFAULT = {
    "route": {"receiver": "default", "group_by": ["..."], "group_wait": "0s", "group_interval": "15s"},
    "receivers": [{"name": "default"}],
}


def configured(path: Path | None, sink: str | None, scale: float, token: str | None = None) -> dict[str, Any]:
    """The configuration at `path` for one stack, as `rendered` has it; without one, all alerts go to the sink soon.
    Raises UsageError."""
    return rendered(_DEFAULT if path is None else _read(path), sink, scale, token)


def rendered(config: Mapping[str, Any], sink: str | None, scale: float, token: str | None = None) -> dict[str, Any]:
    """A copy of an Alertmanager configuration for one stack.

    Whatever a receiver uses in production (mail, chat, pager), here it is one webhook to `sink` (host:port) at
    /notify/<receiver>, resolved alerts too; without a sink nobody is notified. token: what the sink wants to see.
    """
    receivers = []
    for receiver in config["receivers"]:
        kept: dict[str, Any] = {"name": receiver["name"]}
        if sink is not None:
            url = f"http://{sink}/notify/{quote(str(receiver['name']), safe='')}"
            shown = {} if token is None else {"http_config": {"authorization": {"credentials": token}}}
            kept["webhook_configs"] = [{"url": url, "send_resolved": True, **shown}]
        receivers.append(kept)
    shared = scaled(config.get("global") or {}, ("resolve_timeout",), scale)
    root = {**_ROOT, **config["route"]}
    copy = {**config, "global": shared, "route": _route(root, scale), "receivers": receivers}
    copy.pop("templates", None)  # they word what the production receivers send
    return copy


def _route(route: Mapping[str, Any], scale: float) -> dict[str, Any]:
    copy = scaled(route, _DURATIONS, scale)
    if "routes" in copy:
        copy["routes"] = [_route(child, scale) for child in copy["routes"]]
    return copy


def _render(context: Context) -> Plan:
    tool = context.tool("alertmanager")
    path = context.directory / "alertmanager.yml"
    sink = context.peers.get("webhook-sink")
    dump_yaml(path, configured(context.config, sink, context.scale))
    argv = (
        *shown_its_files(tool, TEMPLATES),
        str(tool.path),
        f"--config.file={path}",
        f"--storage.path={context.store / 'data'}",
        f"--web.listen-address={context.address('http')}",
        *FLAGS,
    )
    return Plan(Command(argv, tool.env))


def _check(find: Callable[[str], Tool]) -> None:
    check_shown(find("alertmanager"), TEMPLATES, "Alertmanager")


def _read(path: Path) -> Mapping[str, Any]:
    (document, *_) = load_documents(path)
    config: Mapping[str, Any] = document.data
    for section, kind in (("route", dict), ("receivers", list)):
        if not isinstance(config, dict) or not isinstance(config.get(section), kind):
            raise document.error((section,), "alertmanager-config", f"no {section!r} in it", f"Add {section}.")
    try:
        rendered(config, "-", 1)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        remedy = "See Alertmanager's configuration reference."
        raise UsageError("alertmanager-config", f"{path}: {error}", remedy) from error
    return config


def _examine(path: Path, _spec: Spec) -> Sequence[Path]:
    _read(path)
    return ()


def _probe(context: Context) -> str | None:
    address = context.address("http")
    if http_get(address, "/-/ready") is None:
        return None
    told = http_get(address, "/api/v2/status")
    return None if told is None else str(orjson.loads(told)["versionInfo"]["version"])


RECIPE = Recipe(
    tools=("alertmanager",),
    ports=("http",),
    render=_render,
    probe=_probe,
    grace=2.0,
    metrics=("http", "/metrics"),
    check=_check,
    examine=_examine,
)
