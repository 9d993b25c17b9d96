"""Prometheus, from the production configuration: targets pointed at this stack, durations divided by its time scale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.core.errors import UsageError
from harness.model.source import Document, load_documents
from harness.stack.probes import http_get
from harness.stack.services.recipe import Command, Context, Plan, Recipe
from harness.stack.services.rendering import dump_yaml, scaled

_DURATIONS = ("scrape_interval", "scrape_timeout", "evaluation_interval")


def rendered(
    config: Mapping[str, Any], scrape: Mapping[str, str], alertmanager: str | None, scale: float, stack_id: str
) -> dict[str, Any]:
    """A copy of a Prometheus configuration for one stack.

    Jobs named in `scrape` get that address as their only target, others are dropped; alerts go to `alertmanager`
    (host:port), or nowhere; durations are divided by `scale`; the external label `stack` is added.
    """
    jobs = [
        {**scaled(job, _DURATIONS, scale), "static_configs": [{"targets": [scrape[job["job_name"]]]}]}
        for job in config.get("scrape_configs") or []
        if job["job_name"] in scrape
    ]
    shared = scaled(config.get("global") or {}, _DURATIONS, scale)
    shared["external_labels"] = {**shared.get("external_labels", {}), "stack": stack_id}
    copy = {**config, "global": shared, "scrape_configs": jobs}
    alerting = copy.pop("alerting", None) or {}
    if alertmanager is not None:
        (first, *_) = alerting.get("alertmanagers") or [{}]
        copy["alerting"] = {**alerting, "alertmanagers": [{**first, "static_configs": [{"targets": [alertmanager]}]}]}
    return copy


def _render(context: Context) -> Plan:
    tool = context.tool("prometheus")
    path = context.directory / "prometheus.yml"
    config = _default(context) if context.config is None else _checked(context.config, context)
    dump_yaml(path, config)
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
    return _rendered(config, context)


def _rendered(config: Mapping[str, Any], context: Context) -> dict[str, Any]:
    return rendered(config, context.scrape, context.peers.get("alertmanager"), context.scale, context.stack_id)


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
        return _rendered({**config, "rule_files": _rule_files(document, path.parent, context.scale)}, context)
    except (KeyError, ValueError) as error:
        raise UsageError("prometheus-config", f"{path}: {error}", "See Prometheus' configuration reference.") from error


def _rule_files(document: Document, base: Path, scale: float) -> list[str]:
    """The rule files by their whole paths: Prometheus starts without a word when one is missing."""
    patterns = document.data.get("rule_files") or []
    if patterns and scale != 1:
        remedy = "Use a stack with timeScale: 1 for rules, or take rule_files out."
        cause = f"the durations in rule files are not scaled in this version, and this stack's timeScale is {scale:g}"
        raise document.error(("rule_files",), "not-built-yet", cause, remedy, on="key")
    for at, pattern in enumerate(patterns):
        if not any(base.glob(pattern)):
            raise document.error(("rule_files", at), "file-missing", f"no file {pattern!r} in {base}", "Correct it.")
    return [str(base / pattern) for pattern in patterns]


def _probe(context: Context) -> str | None:
    address = context.address("http")
    if http_get(address, "/-/ready") is None:
        return None
    told = http_get(address, "/api/v1/status/buildinfo")
    return None if told is None else str(orjson.loads(told)["data"]["version"])


RECIPE = Recipe(
    tools=("prometheus",), ports=("http",), render=_render, probe=_probe, grace=3.0, metrics=("http", "/metrics")
)
