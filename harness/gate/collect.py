"""Gathers a run's evidence from the stack: counters before and after, PromQL results, spans, logs, who died."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.clock import mono_ns, wall_ns
from harness.core.errors import HarnessError, UsageError
from harness.model.openslo_objective import Objective
from harness.results.rundir import RUN_SCHEMA, RunDir
from harness.slo.counts import EVIDENCE
from harness.slo.objectives import Window, collect_objective
from harness.stack.runtime import Stack
from harness.telemetry.counters import read_counter, read_idle
from harness.telemetry.metrics import PrometheusStore
from harness.telemetry.targets import await_targets
from harness.telemetry.traces import copy_spans

WATCHERS = frozenset({"prometheus", "otlp-sink"})  # services that only look on: without them data are missing
LOG_BYTES = 4 << 20  # the most that is kept of one log


class Collector:
    """`before` and `after` the load, and `always` at the end, whatever happened between."""

    def __init__(self, stack: Stack, run: RunDir, began_ns: int) -> None:
        """began_ns: when the run began (CLOCK_MONOTONIC); the stack is ready now."""
        self._stack = stack
        self._run = run
        self._began_ns = began_ns
        self._began_wall = wall_ns()
        self._ready_seconds = (mono_ns() - began_ns) / 1e9
        self._counters: dict[str, dict[str, Any]] = {}
        self._idle_bytes = stack.rss_bytes()
        self._log_start = {path: path.stat().st_size for path in self._log_files()}

    def before(self) -> None:
        """Assert the scrape targets, then read the counters while nothing runs. Raises HarnessError."""
        stack = self._stack
        jobs = {job: stack.address(ref) for job, ref in stack.file.spec.scrape.items()}
        if jobs:
            await_targets(self._prometheus(), jobs, deadline=30.0)
        for name, counter in stack.file.spec.counters.items():
            url = stack.metrics_url(counter.service)
            value = read_idle(lambda url=url, series=counter.series: read_counter(url, series))  # type: ignore[misc]
            self._counters[name] = {"service": counter.service, "series": counter.series, "before": value}
        unread = {"slug": "not-collected", "cause": "the run ended before the counter was read again"}
        self._run.write(EVIDENCE, {name: {**one, "error": unread} for name, one in self._counters.items()})

    def after(self, objectives: Sequence[Objective], window: Window) -> None:
        """Read the counters again, ask the metrics store, copy the spans of the load."""
        stack = self._stack
        for evidence in self._counters.values():
            url = stack.metrics_url(evidence["service"])
            try:
                evidence["after"] = read_idle(lambda url=url, ev=evidence: read_counter(url, ev["series"]))  # type: ignore[misc]
            except HarnessError as error:
                evidence["error"] = {"slug": error.slug, "cause": error.cause}
        self._run.write(EVIDENCE, self._counters)
        if objectives:
            store = PrometheusStore(self._prometheus())
            store.wait_for_sample(list(stack.file.spec.scrape), window.end_wall_ns, deadline=10.0)
            for objective in objectives:
                evidence = collect_objective(store, objective, window)
                self._run.write(objective.evidence_path, evidence)
        for name, service in stack.file.spec.services.items():
            if service.use == "otlp-sink":
                source = stack.service_dir(name) / "spans.jsonl"
                copy_spans(source, self._run.evidence / "spans.jsonl", self._began_wall, wall_ns())

    def always(self) -> None:
        """Who died, what the services said since the run began, and where and when it ran."""
        stack, spec = self._stack, self._stack.file.spec
        died = [
            {
                "service": one.service,
                "how": one.how,
                "watcher": one.service in spec.services and spec.services[one.service].use in WATCHERS,
            }
            for one in stack.died()
        ]
        self._run.write("evidence/stack.json", {"runtime": stack.runtime, "isolation": stack.isolation, "died": died})
        for path in self._log_files():
            structured = path.suffix == ".jsonl"  # a service's own words are wanted from its start
            _copy_tail(path, self._run.logs / path.name, self._log_start.get(path, 0) if structured else 0)
        self._run.write("run.json", self._circumstances())

    def _prometheus(self) -> str:
        for name, service in self._stack.file.spec.services.items():
            if service.use == "prometheus":
                return f"http://{self._stack.address(f'{name}.http')}"
        raise UsageError(
            "prometheus-missing",
            "objectives and scrape targets need a Prometheus, and the stack has none",
            "Add a service with `use: prometheus` to stack.yaml.",
        )

    def _log_files(self) -> list[Path]:
        names = self._stack.file.spec.services
        logs = [self._stack.log_path(name) for name in names]
        structured = [path for name in names for path in self._stack.service_dir(name).glob("*.jsonl")]
        return [path for path in logs + structured if path.exists() and path.name != "spans.jsonl"]

    def _circumstances(self) -> dict[str, Any]:
        stack = self._stack
        return {
            "schema": RUN_SCHEMA,
            "harness": {"version": __version__, "commit": _commit(stack.root)},
            "began_wall_ns": self._began_wall,
            "seconds_to_ready": round(self._ready_seconds, 3),
            "seconds_in_all": round((mono_ns() - self._began_ns) / 1e9, 3),
            "machine": {
                "platform": platform.platform(),
                "python": platform.python_version(),
                "cpus": os.cpu_count(),
                "load_average": os.getloadavg(),
            },
            "stack": {
                "id": stack.id,
                "name": stack.name,
                "runtime": stack.runtime,
                "isolation": stack.isolation,
                "reused": stack.reused,
                "idle_resident_bytes": self._idle_bytes,
                "services": {one.name: {"version": one.version, "healthy": one.healthy} for one in stack.services()},
            },
        }


def _commit(root: Path) -> str:
    """The git commit of the project under test, or '' outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def _copy_tail(source: Path, target: Path, start: int) -> None:
    try:
        reader = source.open("rb")
    except FileNotFoundError:
        return  # the stack went away, and its directory with it; that is told elsewhere
    with reader:
        size = reader.seek(0, os.SEEK_END)
        start = start if start <= size else 0  # the file was begun anew
        reader.seek(max(start, size - LOG_BYTES))
        target.write_bytes(reader.read())
