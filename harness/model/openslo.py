"""OpenSLO v1 as promises that one run can judge.

A run is short and OpenSLO's durations begin at a minute (`M` is months), so an SLO is judged over the run's steady
phase whatever its timeWindow says; the window is kept for the reader. Queries write `$window` for the steady phase
(harness.model.promql). What follows is from "Objectives" and "Ratio Metric" of the OpenSLO v1 specification:

thresholdMetric, `op` and `value`: the query's instant value at the end of the steady phase is one occurrence for each
series in the result, good when `observed op value` is true. A target above zero then asks for that one occurrence, so
every series must hold, and the worst is what was observed.

ratioMetric, raw: a share that somebody else worked out, judged like a thresholdMetric: `>= target` of successes, or
`<= 1 - target` of failures. What is no share, such as 99.9 where 0.999 was meant, must not pass: the query is sent
divided by whether it lies between 0 and 1, so that anything else is infinite, and an infinite value is no data.

ratioMetric, good and total: good / total; bad and total: (total - bad) / total; compared as `>= target`. With
`counter: true` and a query that is a plain selector, or a sum of one, good, bad and total are differences of the raw
counters between the last samples at or before the two ends of the phase, resets handled, summed over series. Otherwise
the queries are asked as they stand at the end of the phase; a `counter: true` query must then look back by itself, as
`sum(increase(x[$window]))` does, since its bare value would count from the start of the process.

Timeslices, RatioTimeslices, and an SLO that must hold in every window: harness.model.openslo_parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.core.errors import UsageError
from harness.model.openslo_goal import Goal
from harness.model.openslo_indicator import Indicator
from harness.model.openslo_objective import Objective, objective_from_dict
from harness.model.openslo_parts import WINDOW_ANNOTATION, part_location, read_slices, read_sliding
from harness.model.openslo_slo import ServiceLevel, load_service_levels
from harness.model.promql import PromQL, PromQLError, parse_promql

__all__ = ["UNIT_ANNOTATION", "WINDOW_ANNOTATION", "Objective", "load_objectives", "objective_from_dict"]

UNIT_ANNOTATION = "slo-harness/unit"  # on the SLO: the unit of a thresholdMetric, for example s


def load_objectives(*paths: Path) -> list[Objective]:
    """The objectives of one or more files of OpenSLO v1 documents, in their order; references go across the files.

    Raises UsageError, located: what load_service_levels raises, and not-built-yet for what a run cannot judge.
    """
    objectives: dict[str, Objective] = {}
    for level in load_service_levels(paths):
        level.refuse("a run does not judge")
        for goal in level.goals:
            objective = _objective(level, goal)
            if (other := objectives.get(objective.slug)) is not None:
                raise UsageError(
                    "duplicate-name",
                    f"two objectives are named {objective.id!r}; the other stands at {other.location}",
                    "Give each SLO its own metadata.name and each of its objectives its own displayName.",
                    location=objective.location,
                )
            objectives[objective.slug] = objective
    return list(objectives.values())


def _objective(level: ServiceLevel, goal: Goal) -> Objective:
    indicator, spec = goal.indicator, level.parsed.spec
    operator, target = _promise(goal)
    slices = read_slices(level, goal, operator)
    if slices is not None and slices.operator:  # what is promised is the share of good slices
        operator, target = ">=", goal.target
    threshold = indicator.kind == "threshold" and slices is None
    return Objective(
        id=f"objectives/{level.name}/{goal.name}",
        slo=level.name,
        kind="ratio" if indicator.kind == "ratio" else "threshold",
        queries=_queries(indicator),
        operator=operator,
        target=target,
        unit=level.parsed.metadata.annotations.get(UNIT_ANNOTATION, "") if threshold else "%",
        counter=indicator.counter,
        service=spec.service,
        description=spec.description or indicator.description,
        window=str(level.window or ""),
        slices=slices,
        sliding_ns=read_sliding(level),
        location=goal.location,
        part_location=part_location(level, goal),
    )


def _promise(goal: Goal) -> tuple[str, float]:
    if goal.indicator.kind == "threshold":
        return goal.operator or "", goal.value or 0.0
    if goal.indicator.raw_type == "failure":
        return "<=", round(1 - goal.target, 12)
    return ">=", goal.target


def _queries(indicator: Indicator) -> Mapping[str, PromQL]:
    if indicator.kind != "raw":
        return indicator.queries
    text = indicator.queries["raw"].enclosed
    try:
        return {"value": parse_promql(f"{text} / ({text} >= bool 0) / ({text} <= bool 1)")}
    except PromQLError as error:  # three times as long as what was written
        remedy = "Shorten the query, or record it with a rule."
        raise indicator.document.error(indicator.query_path("raw"), "promql-syntax", str(error), remedy) from None
