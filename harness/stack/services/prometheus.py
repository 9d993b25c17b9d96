"""Prometheus, from the production configuration: targets pointed at this stack, durations divided by its time scale."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from harness.core.duration import parse_duration
from harness.core.errors import UsageError
from harness.model.source import Document, load_documents
from harness.model.stackfile import Spec
from harness.stack.probes import http_get
from harness.stack.services.prometheus_settings import check_settings, printed_version
from harness.stack.services.recipe import Command, Context, Plan, Recipe
from harness.stack.services.rendering import dump_yaml, scaled

_OUTWARD = frozenset({"alerting", "remote_write", "remote_read", "scrape_config_files"})
_GLOBAL = {"scrape_interval": "1m", "evaluation_interval": "1m"}  # Prometheus' own defaults
FLAGS = ("--storage.tsdb.retention.time=1d", "--log.level=warn")
_DURATIONS = ("scrape_interval", "scrape_timeout", "evaluation_interval")


def rendered(
    config: Mapping[str, Any], scrape: Mapping[str, str], alertmanager: str | None, scale: float, stack_id: str
) -> dict[str, Any]:
    """A copy of a Prometheus configuration for one stack.

    Jobs named in `scrape` get that address as their only target, others are dropped; alerts go to `alertmanager`
    (host:port), or nowhere; nothing else that leads out of the stack is kept (remote storage, discovery of targets);
    durations are divided by `scale`; the external label `stack` is added.
    """
    jobs = [
        {
            **_without_discovery(scaled(job, _DURATIONS, scale)),
            "static_configs": [{"targets": [scrape[job["job_name"]]]}],
        }
        for job in config.get("scrape_configs") or []
        if job["job_name"] in scrape
    ]
    shared = scaled({**_GLOBAL, **(config.get("global") or {})}, _DURATIONS, scale)
    shared["external_labels"] = {**shared.get("external_labels", {}), "stack": stack_id}
    kept = {name: section for name, section in config.items() if name not in _OUTWARD}
    copy = {**kept, "global": shared, "scrape_configs": jobs}
    if alertmanager is not None:
        alerting = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        if relabelled := (config.get("alerting") or {}).get("alert_relabel_configs"):
            alerting["alert_relabel_configs"] = relabelled
        copy["alerting"] = alerting
    return copy


def _without_discovery(job: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if not name.endswith("_sd_configs")}


def _render(context: Context) -> Plan:
    tool = context.tool("prometheus")
    path = context.directory / "prometheus.yml"
    alertmanager = context.peers.get("alertmanager")
    config = configured(context.config, context.scrape, alertmanager, context.scale, context.stack_id)
    check_settings(context.config, lambda: printed_version(tool))
    dump_yaml(path, config)
    argv = (
        str(tool.path),
        f"--config.file={path}",
        f"--storage.tsdb.path={context.store / 'tsdb'}",
        f"--web.listen-address={context.address('http')}",
        *FLAGS,
    )
    return Plan(Command(argv, tool.env))


def configured(
    path: Path | None, scrape: Mapping[str, str], alertmanager: str | None, scale: float, stack_id: str
) -> dict[str, Any]:
    """The configuration at `path` for one stack, as `rendered` has it, with rule files by their whole paths. Without
    one: scrape what `scrape` names, every 15 s of the seed's time, at /metrics. Raises UsageError."""
    if path is not None:
        return rendered(_checked(path, scrape, scale), scrape, alertmanager, scale, stack_id)
    config = {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "scrape_configs": [{"job_name": job} for job in scrape],
    }
    return rendered(config, scrape, alertmanager, scale, stack_id)


def scrape_seconds(path: Path, spec: Spec) -> dict[str, float]:
    """Seconds between scrapes by job, as this stack's Prometheus will have them. path: its configuration; raises what
    is wrong with it."""
    checked = _checked(path, spec.scrape, spec.timeScale)
    config = rendered(checked, dict.fromkeys(spec.scrape, "-"), None, spec.timeScale, "-")
    stated = {job["job_name"]: job.get("scrape_interval") for job in config["scrape_configs"]}
    usual = config["global"]["scrape_interval"]
    return {job: parse_duration(str(interval or usual)) / 1e9 for job, interval in stated.items()}


def _examine(path: Path, spec: Spec) -> Sequence[Path]:
    config = _checked(path, spec.scrape, spec.timeScale)
    return sorted(found for pattern in config["rule_files"] for found in matching(pattern))


def _checked(path: Path, scrape: Collection[str], scale: float) -> dict[str, Any]:
    """The configuration with its rule files by their whole paths. Raises UsageError, located where that is known."""
    (document, *_) = load_documents(path)
    config = document.data
    problem = None
    if not isinstance(config, dict) or not isinstance(config.get("scrape_configs"), list):
        problem = "no list of scrape_configs"
    else:
        jobs = {job.get("job_name") for job in config["scrape_configs"] if isinstance(job, dict)}
        if missing := sorted(set(scrape) - jobs):
            problem = f"no scrape job {missing[0]!r}, which stack.yaml names under scrape"
    if problem is not None:
        raise document.error((), "prometheus-config", problem, "Add it, or correct stack.yaml.")
    config = {**config, "rule_files": _rule_files(document, path.parent, scale)}
    try:
        rendered(config, dict.fromkeys(scrape, "-"), "-", scale, "-")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError("prometheus-config", f"{path}: {error}", "See Prometheus' configuration reference.") from error
    return config


def _rule_files(document: Document, base: Path, scale: float) -> list[str]:
    """The rule files by their whole paths: Prometheus starts without a word when one is missing."""
    patterns = document.data.get("rule_files") or []
    if patterns and scale != 1:
        remedy = "Use a stack with timeScale: 1 for rules, or take rule_files out."
        cause = f"the durations in rule files are not scaled in this version, and this stack's timeScale is {scale:g}"
        raise document.error(("rule_files",), "not-built-yet", cause, remedy, on="key")
    for at, pattern in enumerate(patterns):
        if not matching(str(base / str(pattern))):
            raise document.error(("rule_files", at), "file-missing", f"no file {pattern!r} in {base}", "Correct it.")
    return [str(base / str(pattern)) for pattern in patterns]


def matching(pattern: str) -> list[Path]:
    """The files that an absolute pattern names."""
    return list(Path("/").glob(pattern.removeprefix("/")))


def _probe(context: Context) -> str | None:
    address = context.address("http")
    if http_get(address, "/-/ready") is None:
        return None
    told = http_get(address, "/api/v1/status/buildinfo")
    return None if told is None else str(orjson.loads(told)["data"]["version"])


RECIPE = Recipe(
    tools=("prometheus",),
    ports=("http",),
    render=_render,
    probe=_probe,
    grace=3.0,
    metrics=("http", "/metrics"),
    examine=_examine,
)
