"""What a fault does to a system under load, measured: clients, metrics and logs before it, during it, after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.clock import mono_ns, wall_ns
from harness.core.errors import HarnessError
from harness.faults.fault import Fault
from harness.faults.making import make
from harness.gate.catalogue_client import clients, seconds_of_windows, timeline
from harness.gate.catalogue_logs import LogWatch, summary
from harness.gate.catalogue_metrics import most_changed
from harness.gate.environment import scenario_environment
from harness.load.engine import LoadEngine
from harness.model.events import Event, FaultEvent
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import load_samples
from harness.stack.handle import Stack
from harness.stack.logs import LoggedStack
from harness.telemetry.metrics import PrometheusStore
from harness.telemetry.metrics_port import QueryFailed

SCHEMA = 1
MOST_METRICS = 8
PATIENCE = 90.0  # seconds that beginning and ending may take beside
TIMEOUT = 2.0  # seconds of a request: a fault that lets them hang must not outlast its own recovery


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds. warmup: not shown; before, during, after the fault; rate: arrivals a second."""

    warmup: float = 3.0
    before: float = 6.0
    during: float = 8.0
    after: float = 8.0
    rate: float = 20.0


LENGTHS = Lengths()


@dataclass(frozen=True, slots=True)
class Moments:
    """Of one fault, CLOCK_MONOTONIC ns: the origin of the load; asked for, seen in force, to be undone, seen undone."""

    origin: int
    asked: int
    begun: int
    ending: int
    ended: int
    until: int

    def windows(self) -> dict[str, tuple[float, float]]:
        """Seconds since the origin; `fault` is from its being asked for to its being undone."""
        at = {
            name: (getattr(self, name) - self.origin) / 1e9 for name in ("asked", "begun", "ending", "ended", "until")
        }
        return {
            "before": (0.0, at["asked"]),
            "during": (at["begun"], at["ending"]),
            "after": (at["ended"], at["until"]),
            "fault": (at["asked"], at["ended"]),
        }


def measure(
    stack: Stack,
    name: str,
    values: Mapping[str, Any],
    *,
    provoked_by: tuple[str, Mapping[str, Any]] | None = None,
    scenario: Path,
    results: Path,
    emit: Callable[[Event], None],
    lengths: Lengths = LENGTHS,
) -> dict[str, Any]:
    """One fault's page as data, see `harness.report.catalogue`. provoked_by: name and parameters of another that is
    begun and ended as soon as the first is in force, so that clients meet that.

    Raises HarnessError: what making, beginning or ending the fault raises (but for one that nothing met, which is
    told), worker-failed, worker-died."""
    told: list[FaultEvent] = []

    def hear(event: Event) -> None:
        if isinstance(event, FaultEvent):
            told.append(event)
        emit(event)

    fault = make(stack, name, values, hear)
    second = None if provoked_by is None else make(stack, *provoked_by, emit)
    run = RunDir.create(results, f"fault-{name}")
    watch = LogWatch(_logged(stack))
    engine = LoadEngine(_plan(stack, scenario, lengths), run)
    try:
        engine.prepare()
        moments, unmet = _drive(engine, fault, second, watch, lengths)
    finally:
        engine.stop()
        for one in (second, fault):
            if one is not None:
                one.end()
    samples = load_samples(run.load)
    windows = {part: _shifted(window, lengths.warmup) for part, window in moments.windows().items()}
    return {
        "schema": SCHEMA,
        "fault": name,
        "kind": fault.kind,
        "parameters": dict(values),
        "provoked_by": None if provoked_by is None else {"fault": provoked_by[0], "parameters": dict(provoked_by[1])},
        "touches": sorted(fault.touches),
        "rate": lengths.rate,
        "load_average": round(os.getloadavg()[0], 1),  # of the last minute, when all is over
        "how": {event.edge: event.how for event in told},
        "counters": told[-1].counters if told else {},
        "unmet": unmet,
        "windows": windows,
        "client": clients(samples, seconds_of_windows(moments.windows())),
        "timeline": timeline(samples, int(lengths.warmup), int(moments.windows()["after"][1])),
        "metrics": _metrics(stack, moments, lengths, fault),
        "logs": summary(watch.read((("before", 0, 1), ("during", 1, 2), ("after", 3, 4)))),
    }


def _plan(stack: Stack, scenario: Path, lengths: Lengths) -> LoadPlan:
    seconds = lengths.before + lengths.during + lengths.after + PATIENCE  # it is ended when all is seen
    return LoadPlan(
        scenario=str(scenario),
        rate=lengths.rate,
        warmup_ns=int(lengths.warmup * 1e9),
        duration_ns=int(seconds * 1e9),
        host=f"http://{stack.address(stack.file.spec.target)}",
        env=scenario_environment(stack),
        timeout_ns=int(TIMEOUT * 1e9),
    )


def _logged(stack: Stack) -> LoggedStack:
    return LoggedStack(stack.directory, leased=True, ready_wall_ns=0, unavailable=dict(stack.unavailable))


def _drive(
    engine: LoadEngine, fault: Fault, second: Fault | None, watch: LogWatch, lengths: Lengths
) -> tuple[Moments, str]:
    """Run the load, and the fault in the midst of it, provoked by the second if there is one; returns the moments, and
    what is said of one that nobody met."""
    origin = engine.start()
    warm = origin + int(lengths.warmup * 1e9)
    asked = begun = ending = ended = until = 0
    unmet = ""
    for _ in engine.ticks():
        now = mono_ns()
        if not watch.marks and now >= warm:
            watch.mark()
        elif watch.marks and not asked and now >= warm + int(lengths.before * 1e9):
            watch.mark()
            asked = mono_ns()
            fault.begin()
            begun = mono_ns()
            if second is not None:
                second.begin()
                second.end()
        elif asked and not ending and now >= begun + int(lengths.during * 1e9):
            watch.mark()
            ending = mono_ns()
            unmet = _end(fault)
            ended = mono_ns()
            watch.mark()
        elif ended and not until and now >= ended + int(lengths.after * 1e9):
            watch.mark()
            until = mono_ns()
            engine.end_early()
    if not until:
        cause = f"{fault.name}: the load was over after {(mono_ns() - origin) / 1e9:.0f} s, and the fault was not"
        raise HarnessError("fault-not-undone", cause, "Bring the stack up anew, and see what takes so long.")
    return Moments(origin, asked, begun, ending, ended, until), unmet


def _end(fault: Fault) -> str:
    """What is said of a fault that nobody met; any other error is raised."""
    try:
        fault.end()
    except HarnessError as error:
        if error.slug != "fault-without-effect":
            raise
        return error.cause
    return ""


def _shifted(window: tuple[float, float], seconds: float) -> tuple[float, float]:
    """To seconds since the end of the warm-up."""
    since, until = window
    return round(max(0.0, since - seconds), 2), round(max(0.0, until - seconds), 2)


def _metrics(stack: Stack, moments: Moments, lengths: Lengths, fault: Fault) -> dict[str, Any]:
    """changed: the series that changed most; missing: why there are none."""
    name = next((one for one, service in stack.file.spec.services.items() if service.use == "prometheus"), "")
    if not name or name in stack.unavailable:
        return {"changed": [], "missing": "there is no Prometheus"}
    zero = (wall_ns() - mono_ns() + moments.origin) / 1e9
    windows = {part: (zero + since, zero + until) for part, (since, until) in moments.windows().items()}
    windows["before"] = windows["before"][0] + lengths.warmup, windows["before"][1]
    store = PrometheusStore(f"http://{stack.address(f'{name}.http')}")
    try:
        found = most_changed(store, windows, _first_jobs(stack, fault), MOST_METRICS)
    finally:
        store.close()
    if isinstance(found, QueryFailed):
        return {"changed": [], "missing": found.detail}
    return {"changed": [one.as_dict() for one in found], "missing": ""}


def _first_jobs(stack: Stack, fault: Fault) -> list[str]:
    """That of the service that clients talk to, then those of what the fault touches."""
    scrape, file = stack.file.spec.scrape, stack.file.spec
    touched = [one.partition(" ")[2] for one in sorted(fault.touches)]
    services = {file.links[one].to.partition(".")[0] if one in file.links else one for one in touched}
    target = file.target.partition(".")[0]
    by_service = {of.partition(".")[0]: job for job, of in scrape.items()}
    return [by_service[target]] * (target in by_service) + [
        job for job, of in scrape.items() if of.partition(".")[0] in services or job in services
    ]
