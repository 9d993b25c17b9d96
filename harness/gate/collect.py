"""Gathers a run's evidence from the stack: counters before and after, PromQL results, spans, logs, who died."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.clock import mono_ns, wall_ns
from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.gate.circumstances import circumstances
from harness.model.openslo_objective import Objective
from harness.results.rundir import RunDir
from harness.slo.counts import EVIDENCE
from harness.slo.objectives import Window, collect_objective
from harness.stack.runtime import Stack
from harness.telemetry.alerts import copy_notifications
from harness.telemetry.counters import missing, present_counters, read_idle
from harness.telemetry.metrics import PrometheusStore
from harness.telemetry.targets import await_targets
from harness.telemetry.traces import copy_spans

_EVIDENCE = frozenset({"spans.jsonl", "notifications.jsonl"})  # kept by sinks, and no log
LOG_BYTES = 4 << 20  # the most that is kept of one log


class Collector:
    """`before` and `after` the load, and `always` at the end, whatever happened between."""

    def __init__(self, stack: Stack, run: RunDir, began_ns: int, began_wall: int) -> None:
        """began_ns, began_wall: when the run began (CLOCK_MONOTONIC, and by the wall clock); the stack is ready now."""
        self._stack = stack
        self._run = run
        self._began_ns = began_ns
        self._began_wall = began_wall
        self._seconds = {"to_ready": self._since_began()}
        self._counters: dict[str, dict[str, Any]] = {}
        self._idle_bytes = stack.rss_bytes()
        self._log_start = {path: path.stat().st_size for path in self._log_files()}

    def before(self) -> None:
        """Assert the scrape targets, then read the counters while nothing runs. Raises HarnessError."""
        stack = self._stack
        if stack.scrape() and (url := self._store()):
            await_targets(url, stack.scrape(), deadline=30.0)
            self._seconds["to_targets"] = self._since_began()
        for name, counter in stack.file.spec.counters.items():
            if (why := stack.unavailable.get(counter.service)) is not None:
                error = {"slug": "service-unavailable", "cause": why.cause, "outcome": Outcome.NOT_VALIDATED}
                self._counters[name] = {"service": counter.service, "series": counter.series, "error": error}
        for service, names in self._counted().items():
            for name in names:
                self._counters[name] = {"service": service, "series": stack.file.spec.counters[name].series}
        for names, read in self._read():
            if isinstance(read, HarnessError):
                raise read
            self._note("before", names, read)
        unread = {"slug": "not-collected", "cause": "the run ended before the counter was read again"}
        self._run.write(EVIDENCE, {name: {"error": unread, **one} for name, one in self._counters.items()})

    def after(self, objectives: Sequence[Objective], window: Window) -> None:
        """Read the counters again, ask the metrics store, copy the spans of the load."""
        stack = self._stack
        for names, read in self._read():
            self._note("after", names, read)
        self._run.write(EVIDENCE, self._counters)
        if objectives and (url := self._store()):
            store = PrometheusStore(url)
            store.wait_for_sample(list(stack.scrape()), window.end_wall_ns, deadline=10.0)
            for objective in objectives:
                evidence = collect_objective(store, objective, window)
                self._run.write(objective.evidence_path, evidence)
        for name in stack.file.spec.services_of("otlp-sink"):
            source = stack.service_dir(name) / "spans.jsonl"
            copy_spans(source, self._run.evidence / "spans.jsonl", self._began_wall, wall_ns())

    def always(self) -> None:
        """Who died, what the services said since the run began, and where and when it ran."""
        stack, spec = self._stack, self._stack.file.spec
        died = [
            {
                "service": one.service,
                "how": one.how,
                "wall_ns": one.wall_ns,
                "watcher": one.service in spec.services and spec.services[one.service].watches,
            }
            for one in stack.died()
            if one.wall_ns >= self._began_wall  # what was restarted since is of an earlier run
        ]
        evidence = {
            "runtime": stack.runtime,
            "isolation": stack.isolation,
            "died": died,
            "unavailable": {name: why.as_dict() for name, why in stack.unavailable.items()},
            "store": next(iter(spec.services_of("prometheus")), None),
            "jobs": {job: ref.partition(".")[0] for job, ref in spec.scrape.items()},
        }
        self._run.write("evidence/stack.json", evidence)
        for name in spec.services_of("webhook-sink"):
            source = stack.service_dir(name) / "notifications.jsonl"
            copy_notifications(source, self._run.evidence / "notifications.jsonl", self._began_wall, wall_ns())
        for path in self._log_files():
            structured = path.suffix == ".jsonl"  # a service's own words are wanted from its start
            _copy_tail(path, self._run.logs / path.name, self._log_start.get(path, 0) if structured else 0)
        seconds = {**self._seconds, "in_all": self._since_began()}
        self._run.write("run.json", circumstances(stack, self._began_wall, seconds, self._idle_bytes))

    def _read(self) -> list[tuple[list[str], dict[str, float] | HarnessError]]:
        """For each service the names whose counters it keeps, and what those that are there say, or why none does. All
        services are waited for at once."""

        def one(service: str, names: list[str]) -> dict[str, float] | HarnessError:
            series = [self._counters[name]["series"] for name in names]
            try:
                return read_idle(partial(present_counters, self._stack.metrics_url(service), series))
            except HarnessError as error:
                return error

        counted = self._counted()
        with ThreadPoolExecutor(max(1, len(counted))) as pool:
            return list(zip(counted.values(), pool.map(one, counted, counted.values()), strict=True))

    def _note(self, when: str, names: list[str], read: dict[str, float] | HarnessError) -> None:
        """A counter that is not there is an error of that name alone: who sends no such request does not miss it."""
        for name in names:
            counter = self._counters[name]
            error = read if isinstance(read, HarnessError) else None
            if not isinstance(read, HarnessError) and counter["series"] in read:
                counter[when] = read[counter["series"]]
                continue
            error = error or missing(self._stack.metrics_url(counter["service"]), counter["series"])
            counter["error"] = {"slug": error.slug, "cause": error.cause}

    def _since_began(self) -> float:
        return (mono_ns() - self._began_ns) / 1e9

    def _counted(self) -> dict[str, list[str]]:
        """Service -> the counters that it keeps, for each service that can be had."""
        found: dict[str, list[str]] = {}
        for name, counter in self._stack.file.spec.counters.items():
            if counter.service not in self._stack.unavailable:
                found.setdefault(counter.service, []).append(name)
        return found

    def _store(self) -> str | None:
        """The URL of the stack's Prometheus; None where this machine cannot run it."""
        for name in self._stack.file.spec.services_of("prometheus"):
            available = name not in self._stack.unavailable
            return f"http://{self._stack.address(f'{name}.http')}" if available else None
        raise UsageError(
            "prometheus-missing",
            "objectives and scrape targets need a Prometheus, and the stack has none",
            "Add a service with `use: prometheus` to stack.yaml.",
        )

    def _log_files(self) -> list[Path]:
        names = self._stack.file.spec.services
        logs = [self._stack.log_path(name) for name in names]
        structured = [path for name in names for path in self._stack.service_dir(name).glob("*.jsonl")]
        return [path for path in logs + structured if path.exists() and path.name not in _EVIDENCE]


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
