"""The value of an objective in each part of the steady phase: in its time slices, or in windows that slide over it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.duration import format_duration
from harness.model.openslo_objective import Objective
from harness.model.threshold import holds
from harness.slo.estimates import Estimate
from harness.slo.objectives_raw import NoData, gaps, rises, span
from harness.slo.objectives_values import all_by_counter, by_counter, part_of, ratio, share_here, summed, worst

Points = list[dict[str, Any]]
Value = Callable[[float, float], tuple[Estimate, str]]  # of the part between two times; raises NoData


_NOTHING = Estimate(math.nan)


@dataclass(frozen=True, slots=True)
class Part:
    """One slice or window. start, end: seconds after the begin of the steady phase; missing: why it has no value, or
    ""; detail: which series it was, or the counts; told: the value, and what it tells."""

    start: float
    end: float
    missing: str = ""
    detail: str = ""
    told: Estimate = _NOTHING

    @property
    def when(self) -> str:
        return f"from {self.start:.6g} s to {self.end:.6g} s of the steady phase"


@dataclass(frozen=True, slots=True)
class Counted:
    """What two counters rose by at each scrape of the steady phase: all events, and the good or bad ones."""

    times: list[float]
    some: list[float]
    total: list[float]

    def between(self, start: float, end: float) -> slice:
        """The scrapes after `start`, up to and with `end`."""
        return slice(bisect_right(self.times, start), bisect_right(self.times, end))


def bounds(evidence: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Start and end of each part, in seconds since the epoch. Raises NoData where the phase has none."""
    parts = evidence.get("parts")
    if not parts:
        raise NoData("the evidence does not say which parts the steady phase has")
    length = parts["length_ms"]
    if not parts["ends_ms"]:
        start, end = span(evidence)
        raise NoData(
            f"the steady phase lasted {format_duration((end - start) * 1e9)}, "
            f"and one part of it is {format_duration(length * 1e6)}"
        )
    return [((end - length) / 1000, end / 1000) for end in parts["ends_ms"]]


def read_parts(objective: Objective, evidence: Mapping[str, Any]) -> list[Part]:
    """Every part of the steady phase with its value. Raises NoData for what concerns them all."""
    spans = bounds(evidence)
    missing = [""] * len(spans)
    for role, query in objective.queries.items():
        for selector in query.selectors:
            series = evidence["raw"][selector]
            why = gaps(selector, series, evidence["targets"], spans, counted=by_counter(objective, role))
            missing = [before or now for before, now in zip(missing, why, strict=True)]
    value = _reader(objective, evidence)
    origin = span(evidence)[0]
    return [
        _part(start, end, round(start - origin, 3), round(end - origin, 3), why, value)
        for (start, end), why in zip(spans, missing, strict=True)
    ]


def counters(objective: Objective, evidence: Mapping[str, Any]) -> Counted:
    """The two counters of a ratio, scrape by scrape. Raises NoData."""
    some, total = (
        rises(selector, evidence["raw"][selector], evidence["targets"], *span(evidence))
        for role in (part_of(objective), "total")
        if (selector := objective.queries[role].counter) is not None
    )
    times = sorted(some.keys() | total.keys())
    return Counted(times, [some.get(t, 0.0) for t in times], [total.get(t, 0.0) for t in times])


def _part(start: float, end: float, from_: float, to: float, missing: str, value: Value) -> Part:
    if missing:
        return Part(from_, to, missing)
    try:
        told, detail = value(start, end)
    except NoData as why:
        return Part(from_, to, str(why))
    return Part(from_, to, detail=detail, told=told)


def _reader(objective: Objective, evidence: Mapping[str, Any]) -> Value:
    """What gives the value of the part between two times, and what belongs to it. Raises NoData, and so does that."""
    if all_by_counter(objective):
        return _by_events(objective, evidence)
    asked = {
        role: _points(query["range"]) for role, query in evidence["queries"].items() if query.get("range") is not None
    }
    if objective.kind == "ratio":
        return _by_ratio(objective, asked)
    if objective.by_moments:
        return _by_moments(objective, asked["value"], evidence["parts"]["moments_ms"])
    operator, target = compared(objective)

    def at_the_end(_: float, end: float) -> tuple[Estimate, str]:
        value, detail = worst(asked["value"].get(_ms(end), []), operator, target, "at its end")
        return Estimate(value), detail

    return at_the_end


def compared(objective: Objective) -> tuple[str, float]:
    """By what the value of one part is compared."""
    slices = objective.slices
    if slices is None or slices.value is None:
        return objective.operator, objective.target
    return slices.operator, slices.value


def _by_events(objective: Objective, evidence: Mapping[str, Any]) -> Value:
    part, counted = part_of(objective), counters(objective, evidence)
    ratio(part, math.fsum(counted.some), math.fsum(counted.total))  # the two count the same events, over the whole

    def of(start: float, end: float) -> tuple[Estimate, str]:
        here = counted.between(start, end)
        some, total = counted.some[here], counted.total[here]
        every = math.fsum(total)
        # a request under way at an edge may stand in one of the two alone
        value, detail = ratio(part, min(math.fsum(some), every), every, "in it")
        return share_here(value * every, every), detail

    return of


def _by_ratio(objective: Objective, asked: Mapping[str, Mapping[int, Points]]) -> Value:
    part = part_of(objective)

    def of(_: float, end: float) -> tuple[Estimate, str]:
        some, total = (summed(role, asked[role].get(_ms(end), []), "at its end") for role in (part, "total"))
        value, detail = ratio(part, some, total, "in it")
        return Estimate(value), detail

    return of


def _by_moments(objective: Objective, asked: Mapping[int, Points], moments: list[int]) -> Value:
    """The share of the moments of a slice at which every series held."""
    operator, target = compared(objective)

    def of(start: float, end: float) -> tuple[Estimate, str]:
        here = moments[bisect_right(moments, _ms(start)) : bisect_right(moments, _ms(end))]
        if not here:
            raise NoData("it has no moment of a scrape")
        values = [worst(asked.get(at, []), operator, target, "at one of its moments")[0] for at in here]
        held = sum(holds(value, operator, target) for value in values)
        return Estimate(held / len(here)), f"{held} of {len(here)} moments"

    return of


def _points(series: Points) -> dict[int, Points]:
    """The values of a range answer by the millisecond at which they were asked."""
    found: dict[int, Points] = {}
    for one in series:
        for t, value in one["samples"]:
            found.setdefault(_ms(t), []).append({"labels": one["labels"], "value": value})
    return found


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
