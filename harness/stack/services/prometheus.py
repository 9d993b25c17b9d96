"""Prometheus, from the production configuration: targets pointed at this stack, durations divided by its time scale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from ruamel.yaml import YAML

from harness.core.duration import parse_duration
from harness.core.errors import UsageError
from harness.model.source import load_documents
from harness.stack.probes import http_get
from harness.stack.services.recipe import Command, Context, Plan, Recipe

_DURATIONS = ("scrape_interval", "scrape_timeout", "evaluation_interval")


def rendered(config: Mapping[str, Any], scrape: Mapping[str, str], scale: float, stack_id: str) -> dict[str, Any]:
    """A copy of a Prometheus configuration for one stack.

    Jobs named in `scrape` get that address as their only target, others are dropped; durations are divided by `scale`;
    the external label `stack` is added.
    """
    jobs = [
        {**_scaled(job, scale), "static_configs": [{"targets": [scrape[job["job_name"]]]}]}
        for job in config.get("scrape_configs") or []
        if job["job_name"] in scrape
    ]
    shared = _scaled(config.get("global") or {}, scale)
    shared["external_labels"] = {**shared.get("external_labels", {}), "stack": stack_id}
    return {**config, "global": shared, "scrape_configs": jobs}


def _scaled(section: Mapping[str, Any], scale: float) -> dict[str, Any]:
    times = {key: _divide(str(section[key]), scale) for key in _DURATIONS if key in section}
    return {**section, **times}


def _divide(duration: str, scale: float) -> str:
    return f"{max(1, round(parse_duration(duration) / 1e6 / scale))}ms"


def _render(context: Context) -> Plan:
    tool = context.tool("prometheus")
    path = context.directory / "prometheus.yml"
    config = _default(context) if context.config is None else _checked(context.config, context)
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(config, file)
    argv = (
        str(tool.path),
        f"--config.file={path}",
        f"--storage.tsdb.path={context.directory / 'tsdb'}",
        f"--web.listen-address={context.address('http')}",
        "--storage.tsdb.retention.time=1d",
        "--log.level=warn",
    )
    return Plan(Command(argv, tool.env))


def _default(context: Context) -> dict[str, Any]:
    """Without a config: scrape what `scrape` names, every 15 s of the seed's time, at /metrics."""
    config = {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "scrape_configs": [{"job_name": job} for job in context.scrape],
    }
    return rendered(config, context.scrape, context.scale, context.stack_id)


def _checked(path: Path, context: Context) -> dict[str, Any]:
    (document, *_) = load_documents(path)
    config = document.data
    problem = None
    if not isinstance(config, dict) or not isinstance(config.get("scrape_configs"), list):
        problem = "no list of scrape_configs"
    else:
        jobs = {job.get("job_name") for job in config["scrape_configs"] if isinstance(job, dict)}
        if missing := sorted(set(context.scrape) - jobs):
            problem = f"no scrape job {missing[0]!r}, which stack.yaml names under scrape"
    if problem is not None:
        raise document.error((), "prometheus-config", problem, "Add it, or correct stack.yaml.")
    try:
        return rendered(config, context.scrape, context.scale, context.stack_id)
    except (KeyError, ValueError) as error:
        raise UsageError("prometheus-config", f"{path}: {error}", "See Prometheus' configuration reference.") from error


def _probe(context: Context) -> str | None:
    address = context.address("http")
    if http_get(address, "/-/ready") is None:
        return None
    told = http_get(address, "/api/v1/status/buildinfo")
    return None if told is None else str(orjson.loads(told)["data"]["version"])


RECIPE = Recipe(
    tools=("prometheus",), ports=("http",), render=_render, probe=_probe, grace=3.0, metrics=("http", "/metrics")
)
