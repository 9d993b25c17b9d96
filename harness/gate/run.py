"""One run: stack, load, evidence, verdict. Everything it learns goes through the run directory."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.clock import mono_ns, wall_ns
from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.gate.breach import BreachWatch, told
from harness.gate.collect import Collector
from harness.gate.conclude import conclude, record_error
from harness.gate.environment import scenario_environment
from harness.gate.faulting import FaultRun
from harness.gate.faults import refuse_impossible_faults
from harness.gate.machine import machine_watched
from harness.gate.plan import Planned, plan
from harness.gate.session import Session
from harness.load.engine import LoadEngine
from harness.model.events import LogEvent, PhaseEvent, RunEvent
from harness.model.finding import Verdict
from harness.model.load import LoadPlan
from harness.model.phases import PHASES_EVIDENCE, Timeline
from harness.model.validation import Validation
from harness.results.events import EventWriter
from harness.results.rundir import RunDir
from harness.slo.breach import ABORT_EVIDENCE
from harness.slo.objectives import Window
from harness.stack.availability import refuse_without
from harness.stack.runtime import Stack

__all__ = ["Planned", "RunResult", "plan", "refuse", "run"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left: its directory and its verdict."""

    run: RunDir
    verdict: Verdict


def refuse(path: Path, error: HarnessError, session: Session) -> RunResult:
    """The run directory of a validation that could not even be planned: its error, and nothing else."""
    run = RunDir.create(session.results, path.stem.replace("_", "-") or "refused")
    writer = run.writer("gate")
    writer.handlers = session.handlers
    writer.emit(RunEvent(path.name, "begin"))
    record_error(
        run,
        error.outcome,
        error.slug,
        f"{error.location}: {error.cause}" if error.location else error.cause,
        error.remedy,
        path.name,
    )
    return RunResult(run, conclude(run, writer))


def run(planned: Planned, session: Session) -> RunResult:
    """Run one validation to its verdict. KeyboardInterrupt ends it early, with the verdict `interrupted`."""
    validation = planned.validation
    run = RunDir.create(session.results, validation.name)
    writer = run.writer("gate")
    writer.handlers = session.handlers
    writer.emit(RunEvent(validation.name, "begin", validation.description))
    run.write("plan.json", _describe(planned, session))
    try:
        with machine_watched(run, validation.thresholds, writer.emit):
            _measure(planned, session, run, writer)
    except HarnessError as error:
        record_error(run, error.outcome, error.slug, error.cause, error.remedy)
    except KeyboardInterrupt:
        writer.emit(RunEvent(validation.name, "interrupted"))
        record_error(run, Outcome.INTERRUPTED, "interrupted", "stopped by the user", "Run it again to the end.")
    except BaseException as error:
        record_error(run, Outcome.ERROR, "internal", f"{type(error).__name__}: {error}", "Please report this.")
        conclude(run, writer)
        raise
    return RunResult(run, conclude(run, writer))


def _measure(planned: Planned, session: Session, run: RunDir, writer: EventWriter) -> None:
    began, began_wall = mono_ns(), wall_ns()
    writer.emit(PhaseEvent("setup", "begin"))
    missing = session.choice(planned.validation.stack_path, planned.stack, writer.emit).missing
    refuse_without(planned.stack, planned.needs, missing, f"validation {planned.validation.name}")
    refuse_impossible_faults(planned.faults, planned.stack, missing)  # before anything is started
    stack = session.stack(planned.validation.stack_path, writer.emit)
    refuse_without(stack.file, planned.needs, stack.unavailable, f"validation {planned.validation.name}")
    refuse_impossible_faults(planned.faults, stack.file, stack.unavailable)
    collector = Collector(stack, run, began, began_wall)
    engine = LoadEngine(_load_plan(planned.validation, stack, run), run)
    try:
        engine.prepare()
        collector.before()
        faults = FaultRun(planned.faults, stack, run, planned.validation.load)
        writer.emit(PhaseEvent("setup", "end", (mono_ns() - began) / 1e9))
        timeline = _drive(engine, planned.validation, run, writer, session.abort_grace_ns, faults)
        began = mono_ns()
        writer.emit(PhaseEvent("collect", "begin"))
        collector.after(planned.objectives, Window(*timeline.steady_wall_ns))
        writer.emit(PhaseEvent("collect", "end", (mono_ns() - began) / 1e9))
    finally:
        engine.stop()
        collector.always()


def _drive(
    engine: LoadEngine,
    validation: Validation,
    run: RunDir,
    writer: EventWriter,
    grace_ns: int | None,
    faults: FaultRun | None = None,
) -> Timeline:
    """Run the load, and the faults meanwhile, which have all ended when this returns or raises; returns its phases as
    they came to be, which stand in the run directory too.

    grace_ns: of the steady phase, after which a breach ends it; None: nothing does.
    """
    load = validation.load
    watch = None
    if grace_ns is not None:
        watch = BreachWatch(validation.thresholds, load, run.load, grace_ns, facts_only=bool(faults))
        writer.emit(LogEvent("info", told(validation.thresholds, load, grace_ns, facts_only=bool(faults))))
    origin = engine.start()
    timeline = Timeline.planned(origin - mono_ns() + wall_ns(), load.warmup, load.duration)
    run.write(PHASES_EVIDENCE, timeline.as_dict())  # as declared, for a run that does not get to its end
    with faults.during(origin, writer) if faults else nullcontext():
        follow(engine, timeline, run, writer, watch, faults)
    timeline = timeline.ended(engine.length_ns, mono_ns() - origin)
    run.write(PHASES_EVIDENCE, timeline.as_dict())
    return timeline


def follow(
    engine: LoadEngine,
    timeline: Timeline,
    run: RunDir,
    writer: EventWriter,
    watch: BreachWatch | None = None,
    faults: FaultRun | None = None,
) -> None:
    """Tell what happens until the load has ended; end it early where a breach is seen."""
    phase, since = "", mono_ns()
    lengths = {one.name: one.seconds for one in timeline.phases}
    for tick in engine.ticks():
        if tick.phase != phase:
            if phase:
                writer.emit(PhaseEvent(phase, "end", (mono_ns() - since) / 1e9))
            phase, since = tick.phase, mono_ns()
            writer.emit(PhaseEvent(phase, "begin", lengths.get(phase, 0.0)))
        writer.emit(tick)
        if faults:
            faults.tell(writer)
        if watch is not None and (breach := watch.look(engine.settled)) is not None:
            engine.end_early()
            if faults:
                faults.end_early()
            run.write(ABORT_EVIDENCE, breach)
            writer.emit(LogEvent("warning", f"{breach['threshold']} is broken beyond doubt: the load ends here"))
            watch = None
    if phase:
        writer.emit(PhaseEvent(phase, "end", (mono_ns() - since) / 1e9))


def _load_plan(validation: Validation, stack: Stack, run: RunDir) -> LoadPlan:
    more = {}
    if validation.load.file:  # as it is now, and kept for whoever reads the run
        more["file"] = str(shutil.copyfile(validation.load.file, run.path.resolve() / "load-arrivals.txt"))
    return validation.load.plan(
        scenario=str(validation.scenario),
        host=f"http://{stack.address(stack.file.spec.target)}",
        env=scenario_environment(stack),
        **more,
    )


def _describe(planned: Planned, session: Session) -> dict[str, Any]:
    return {
        "schema": 1,
        **planned.validation.as_dict(),
        "needs": sorted(planned.needs),
        "objectives": [objective.as_dict() for objective in planned.objectives],
        "faults": [fault.as_dict() for fault in planned.faults],
        "overrides": {service: dict(env) for service, env in session.overrides.items()},
        "allowed_unvalidated": planned.validation.name in session.allow_unvalidated,
        "abort_grace": session.abort_grace_ns,
    }
