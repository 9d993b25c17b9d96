"""A load by itself, on a target that is there already: what the client saw is judged, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.core.clock import mono_ns, wall_ns
from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.gate.conclude import conclude, record_error
from harness.gate.machine import machine_watched
from harness.gate.run import follow
from harness.load.crew import Crew
from harness.load.engine import LoadEngine
from harness.model.events import LogEvent, RunEvent
from harness.model.finding import Verdict
from harness.model.phases import PHASES_EVIDENCE, Timeline
from harness.model.validation import Validation
from harness.results.events import EventWriter, Handler
from harness.results.rundir import RunDir


def run_load(
    validation: Validation,
    host: str,
    results: Any,
    handlers: list[Handler],
    crew: Callable[[RunDir], Crew] | None = None,
) -> tuple[RunDir, Verdict]:
    """Drive the load of a validation against `host`. crew: makes the workers, by default processes of this machine.

    A run that cannot be made or is interrupted has its error as a finding, like any other.
    """
    run = RunDir.create(results, validation.name)
    writer = run.writer("gate")
    writer.handlers = handlers
    writer.emit(RunEvent(validation.name, "begin", f"its load alone, on {host}"))
    run.write("plan.json", _described(validation))
    try:
        with machine_watched(run, validation.thresholds, writer.emit):
            _drive(validation, host, run, writer, crew)
    except HarnessError as error:
        record_error(run, error.outcome, error.slug, error.cause, error.remedy)
    except KeyboardInterrupt:
        writer.emit(RunEvent(validation.name, "interrupted"))
        record_error(run, Outcome.INTERRUPTED, "interrupted", "stopped by the user", "Run it again to the end.")
    return run, conclude(run, writer)


def _drive(
    validation: Validation,
    host: str,
    run: RunDir,
    writer: EventWriter,
    crew: Callable[[RunDir], Crew] | None,
) -> None:
    load = validation.load
    workers = crew(run) if crew is not None else None
    if workers is not None:
        writer.emit(LogEvent("info", f"waiting for {load.workers} load workers"))
    engine = LoadEngine(load.plan(str(validation.scenario), host=host), run, workers)
    try:
        engine.prepare()
        origin = engine.start()
        timeline = Timeline.planned(origin - mono_ns() + wall_ns(), load.warmup, load.duration)
        run.write(PHASES_EVIDENCE, timeline.as_dict())
        follow(engine, timeline, run, writer)
        run.write(PHASES_EVIDENCE, timeline.ended(engine.length_ns, mono_ns() - origin).as_dict())
    finally:
        engine.stop()


def _described(validation: Validation) -> Mapping[str, Any]:
    """The plan of such a run: its objectives, faults and counters belong to a stack, and there is none."""
    nothing: dict[str, Any] = {"needs": [], "objectives": [], "faults": [], "overrides": {}}
    return {
        "schema": 1,
        **validation.as_dict(),
        **nothing,
        "allowed_unvalidated": False,
        "abort_grace": None,
        "load_only": True,
    }
