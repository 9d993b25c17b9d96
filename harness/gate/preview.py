"""What a run would do, and what it could decide, before anything is started, sent or written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.duration import format_duration
from harness.gate.faults import PlannedFault
from harness.gate.forecast import Forecast
from harness.gate.plan import Planned
from harness.model.load import RATED, LoadPlan
from harness.model.load_spec import Load
from harness.model.openslo_objective import Objective
from harness.model.threshold import Threshold
from harness.model.timetable import Stage
from harness.results.earlier import EarlierRuns, steady_arrivals
from harness.slo.demand import Demand, objective_demand, threshold_demand
from harness.slo.unavailable import jobs_read

MOST_LOOKS = 2000  # at windows of a load that changes
_SECOND = 1_000_000_000
State = Literal["can be decided", "a fact", "by scatter", "by users", "cannot be decided"]
_KINDS: Mapping[str, State] = {"counted": "can be decided", "fact": "a fact", "scatter": "by scatter"}


@dataclass(frozen=True, slots=True)
class Promise:
    """One threshold or objective.

    planned: about how many samples there will be, of each window if `window_seconds` is set, None where users make as
    many as the system lets them; wanted: how many, none of them a miss, it takes; why: it cannot be decided; queries:
    as they are sent; scrapes: job -> how many scrapes the steady phase will see, as far as that is known.
    """

    name: str
    state: State
    planned: int | None
    wanted: int
    why: str = ""
    window_seconds: int | None = None
    queries: Mapping[str, str] | None = None
    scrapes: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class PlannedPhase:
    """seconds: its length; arrivals: of the timetable, None where there is none; judged: whether promises speak of
    it."""

    name: str
    seconds: float
    arrivals: int | None
    judged: bool


@dataclass(frozen=True, slots=True)
class PreviewedFault:
    """at, seconds: after the begin of the steady phase, and how long; parameters: those that are not as by default."""

    id: str
    fault: str
    target: str
    at: float
    seconds: float
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """One validation as it would run. rate: arrivals a second, on the average of the steady phase, None where users
    make them; shape: of the load, in words; sampled: whether an earlier run told how many samples an arrival makes;
    seconds: of a run beside starting the stack, None where no earlier run tells."""

    name: str
    path: str
    profile: str
    scenario: str
    stack: str
    needs: tuple[str, ...]
    executor: str
    rate: float | None
    shape: str
    users: int
    workers: int
    phases: tuple[PlannedPhase, ...]
    faults: tuple[PreviewedFault, ...]
    thresholds: tuple[Promise, ...]
    objectives: tuple[Promise, ...]
    forecast: Forecast
    sampled: bool
    seconds: float | None

    @property
    def promises(self) -> tuple[Promise, ...]:
        return self.thresholds + self.objectives

    @property
    def decidable(self) -> bool:
        """Whether all of it would be validated and can be decided."""
        return self.forecast.complete and all(one.state != "cannot be decided" for one in self.promises)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "decidable": self.decidable}


def preview(
    planned: Planned,
    forecast: Forecast,
    earlier: EarlierRuns,
    scrape_seconds: Mapping[str, float],
    too_tight: Mapping[str, str],
) -> Preview:
    """scrape_seconds: by job, {} where not known; too_tight: id of a threshold -> why this machine cannot show it."""
    validation = planned.validation
    load = validation.load
    plan = load.plan()
    ratios = earlier.samples_per_arrival(validation.name)
    rest = earlier.rest_seconds()
    return Preview(
        validation.name,
        str(validation.path),
        validation.profile,
        str(validation.scenario),
        planned.stack.metadata.name,
        tuple(sorted(planned.needs)),
        load.executor,
        _rate(plan),
        _shape(load),
        plan_users(plan),
        load.workers,
        _phases(plan),
        tuple(_fault(one) for one in planned.faults),
        tuple(
            _threshold(one, plan, ratios.get(one.selector_text, 1.0), too_tight.get(one.id, ""))
            for one in validation.thresholds
        ),
        tuple(_objective(one, plan, planned.stack.spec.scrape, scrape_seconds) for one in planned.objectives),
        forecast,
        bool(ratios),
        None if rest is None else rest + (load.warmup + load.duration) / _SECOND,
    )


def users_of(load: Load) -> int:
    """How many users stand ready in all, or at most if their number changes."""
    return plan_users(load.plan())


def plan_users(plan: LoadPlan) -> int:
    """As `users_of`."""
    return sum(plan.users_of(worker) for worker in range(plan.workers))


def _rate(plan: LoadPlan) -> float | None:
    if plan.executor in RATED:
        return plan.rate
    arrivals = steady_arrivals(plan)
    return None if arrivals is None else arrivals / (plan.duration_ns / _SECOND)


def _shape(load: Load) -> str:
    """As `60/s`, or `0/s, 200/s in 10s, 200/s in 45s`."""
    each = "/s" if load.executor == "ramping-arrival-rate" else " users"
    if load.stages:
        return ", ".join([f"{load.start:g}{each}", *(f"{one.target:g}{each} {_within(one)}" for one in load.stages)])
    if load.executor == "replay":
        return Path(load.file).name + (f" {load.speed:g} times as fast" if load.speed != 1 else "")
    return f"{load.rate:g}/s" if load.rate else ""


def _within(stage: Stage) -> str:
    return f"in {format_duration(stage.duration_ns)}" if stage.duration_ns else "at once"


def _phases(plan: LoadPlan) -> tuple[PlannedPhase, ...]:
    steady = steady_arrivals(plan)
    before = None if steady is None else plan.arrivals - steady
    warmup = (PlannedPhase("warmup", plan.warmup_ns / _SECOND, before, False),) if plan.warmup_ns else ()
    return (*warmup, PlannedPhase("steady", plan.duration_ns / _SECOND, steady, True))


def _fault(fault: PlannedFault) -> PreviewedFault:
    given = fault.parameters.model_dump(mode="json", exclude_defaults=True)
    at, length = fault.at_ns / _SECOND, fault.for_ns / _SECOND
    return PreviewedFault(fault.id, fault.made.name, fault.target, at, length, given)


def _threshold(threshold: Threshold, plan: LoadPlan, ratio: float, too_tight: str) -> Promise:
    demand = threshold_demand(threshold)
    window = threshold.window_seconds
    length = window * _SECOND if window is not None else plan.duration_ns
    arrivals = _least_in(plan, length)
    planned = None if arrivals is None else round(arrivals * ratio)
    name = f"{threshold.selector_text} {threshold.condition_text}"
    state, why = _state(demand, planned, (_rate(plan) or 0) * ratio, "widen the window" if window else _longer(plan))
    estimated = demand.kind == "scatter" or (demand.kind == "counted" and threshold.quantile is not None)
    if estimated and length < 2 * _SECOND:
        state = "cannot be decided"
        why = "one second does not show how far samples depend on each other; it takes two or more"
    if too_tight:
        state, why = "cannot be decided", too_tight
    return Promise(name, state, planned, demand.samples, why, window)


def _longer(plan: LoadPlan) -> str:
    return "lengthen the stages" if plan.stages else "lengthen duration"


def _least_in(plan: LoadPlan, length_ns: int) -> float | None:
    """The fewest arrivals that are to be expected in any stretch of the steady phase that is so long."""
    arrivals = steady_arrivals(plan)
    if arrivals is None or length_ns >= plan.duration_ns:
        return arrivals
    if plan.executor in RATED:
        return min(arrivals, plan.rate * length_ns / _SECOND)
    last = plan.length_ns - length_ns
    begins = range(plan.warmup_ns, last + 1, max(_SECOND, (last - plan.warmup_ns) // MOST_LOOKS))
    return min(plan.arrivals_in(begin, begin + length_ns) for begin in begins)


def _state(demand: Demand, planned: int | None, per_second: float, longer: str) -> tuple[State, str]:
    if demand.kind in ("never", "mismatch"):
        return "cannot be decided", demand.why
    if planned is None:
        return ("by users", "") if demand.kind == "counted" else (_KINDS[demand.kind], "")
    if planned < demand.samples and demand.kind != "scatter":
        to = f" to {format_duration(math.ceil(demand.samples / per_second) * _SECOND)}" if per_second else ""
        return "cannot be decided", f"{planned} samples, needs {demand.samples}; {longer}{to}"
    return _KINDS[demand.kind], ""


def _objective(
    objective: Objective, plan: LoadPlan, jobs: Mapping[str, str], scrape_seconds: Mapping[str, float]
) -> Promise:
    """A ratio's events are taken to be one an arrival. Samples, queries and scrapes are those of one sliding window or
    slice, where it is judged by them; of time slices it is their number that counts."""
    demand = objective_demand(objective)
    length_ns = objective.part_ns or plan.duration_ns
    part = "a slice" if objective.slices else "a window" if objective.sliding_ns else "the steady phase"
    longer = _longer(plan) if objective.part_ns is None else f"lengthen {part.removeprefix('a ')}"
    planned = steady_arrivals(plan)
    if objective.sliding_ns is not None and planned is not None:
        planned = round(_least_in(plan, length_ns) or 0)
    elif objective.slices is not None and objective.slices.value is not None:
        planned = math.ceil(plan.duration_ns / length_ns)
    state, why = _state(demand, planned, _rate(plan) or 0, longer)
    queries = {role: query.render(length_ns) for role, query in objective.queries.items()}
    read = jobs_read(objective, jobs) or list(jobs)
    steady = length_ns / _SECOND
    scrapes = {job: math.floor(steady / scrape_seconds[job] + 1e-6) for job in read if job in scrape_seconds}
    least = 2 if any(query.ranged for query in objective.queries.values()) else 1
    named = bool(jobs_read(objective, jobs))
    if scrapes and (min if named else max)(scrapes.values()) < least:
        job = min(scrapes, key=lambda one: scrapes[one])
        length = format_duration(math.ceil(least * scrape_seconds[job]) * _SECOND)
        state = "cannot be decided"
        why = f"{job} is scraped {scrapes[job]} times in {part}, needs {least}; {longer} to {length}"
    operator = f"{objective.id.removeprefix('objectives/')} {objective.operator} {objective.target:g}"
    return Promise(f"{operator}{objective.unit if objective.unit != '%' else ''}", state, planned, demand.samples, why,
                   None if objective.sliding_ns is None else objective.sliding_ns // _SECOND,
                   queries, scrapes if named else None)  # fmt: skip


def total_seconds(previews: Sequence[Preview], earlier: EarlierRuns) -> float | None:
    """Of all, each stack started once; None where no earlier run tells of one of them."""
    starts = [earlier.startup_seconds(stack) for stack in {one.stack for one in previews}]
    parts = [*starts, *(one.seconds for one in previews)]
    known = [one for one in parts if one is not None]
    return sum(known) if len(known) == len(parts) else None
