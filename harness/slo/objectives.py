"""OpenSLO objectives in two steps: what the store said is written down, and the finding is made of that alone.

The evidence is JSON and is kept at `objective.evidence_path` of the run:

    {"schema": 1, "objective": id, "window": {"start_ns", "end_ns"},
     "targets": [{"job", "instance", "interval", "health"}],           seconds between scrapes; [] when not known
     "queries": {role: {"text", "rendered", "instant": [{"labels", "value", "time"}]}},
     "raw": {selector: [{"labels", "samples": [[time, value], ...]}]},  as scraped, from shortly before the window on
     "failed": {"question", "kind", "detail"} or null}                  the first question without an answer

Times are seconds since the epoch. A value that JSON cannot hold is text: "NaN", "+Inf", "-Inf". An `instant` is null
where the raw counters are used instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.openslo import Objective
from harness.model.threshold import holds, margin
from harness.slo.estimates import share_estimate
from harness.slo.objectives_raw import NoData, counted, covered, rises, span
from harness.slo.statistics.confidence import CONFIDENCE
from harness.slo.statistics.decision import decide, times_to_decide
from harness.slo.statistics.dependence import MOST_BLOCKS
from harness.slo.statistics.shares import Interval
from harness.telemetry.metrics import MetricsStore, QueryFailed

SCHEMA = 1
_UNKNOWN_INTERVAL = 15.0  # Prometheus's habit, for how far to look back when it does not say
_OUTCOME = {"bad-query": Outcome.ERROR}  # every other failure is data that was due and is not there


@dataclass(frozen=True, slots=True)
class Window:
    """The steady phase on the wall clock."""

    start_wall_ns: int
    end_wall_ns: int


class _Failed(Exception):
    def __init__(self, question: str, failure: QueryFailed) -> None:
        super().__init__(question, failure.kind, failure.detail)
        self.as_dict = {"question": question, "kind": failure.kind, "detail": failure.detail}


def collect_objective(store: MetricsStore, objective: Objective, window: Window) -> dict[str, Any]:
    """The evidence about `objective` over `window`. Does not raise for what the store does, and stops asking at the
    first question that it cannot answer. The last scrape of the window must be in: see wait_for_sample."""
    length = window.end_wall_ns - window.start_wall_ns
    evidence: dict[str, Any] = {
        "schema": SCHEMA,
        "objective": objective.id,
        "window": {"start_ns": window.start_wall_ns, "end_ns": window.end_wall_ns},
        "targets": [],
        "queries": {
            role: {"text": query.text, "rendered": query.render(length), "instant": None}
            for role, query in objective.queries.items()
        },
        "raw": {},
        "failed": None,
    }
    try:
        _collect(store, objective, window, evidence)
    except _Failed as failed:
        evidence["failed"] = failed.as_dict
    return evidence


def _collect(store: MetricsStore, objective: Objective, window: Window, evidence: dict[str, Any]) -> None:
    targets = store.targets()
    if isinstance(targets, QueryFailed):
        if targets.kind in ("store-down", "timeout"):
            raise _Failed("targets", targets)
        targets = []  # a store that speaks PromQL need not scrape
    evidence["targets"] = [
        {"job": t.job, "instance": t.instance, "interval": t.interval, "health": t.health} for t in targets
    ]
    before = 3 * max((t.interval for t in targets), default=_UNKNOWN_INTERVAL)
    for role, query in objective.queries.items():
        asked = evidence["queries"][role]
        if not _by_counter(objective, role):
            answer = store.instant(asked["rendered"], window.end_wall_ns)
            if isinstance(answer, QueryFailed):
                raise _Failed(asked["rendered"], answer)
            asked["instant"] = [
                {"labels": dict(p.labels), "value": _encode(p.value), "time": p.time} for p in answer.series
            ]
        for selector in query.selectors:
            if selector in evidence["raw"]:
                continue
            samples = store.raw(selector, window.start_wall_ns - round(before * 1e9), window.end_wall_ns)
            if isinstance(samples, QueryFailed):
                raise _Failed(selector, samples)
            evidence["raw"][selector] = [
                {"labels": dict(s.labels), "samples": [[t, _encode(v)] for t, v in s.samples]} for s in samples.series
            ]


def judge_objective(objective: Objective, evidence: Mapping[str, Any]) -> Finding:
    """The finding that `evidence` gives; asks nothing else. Whatever is missing from it is no-data, never a pass."""
    samples = 0
    observed: float | None = None
    try:
        if (failed := evidence["failed"]) is not None:
            reason = f"{failed['kind']}: {failed['detail']}"
            return _finding(objective, evidence, _OUTCOME.get(failed["kind"], Outcome.NO_DATA), reason=reason)
        start, end = span(evidence)
        for query in objective.queries.values():
            for selector in query.selectors:
                samples += covered(selector, evidence["raw"][selector], evidence["targets"], start, end)
        observed, detail = (_worst if objective.kind == "threshold" else _ratio)(objective, evidence)
        sampled = _sampled(objective, evidence)
    except NoData as missing:
        return _finding(objective, evidence, missing.outcome, reason=str(missing), samples=samples)
    if sampled is None:  # the store's own number: no sampling law is known of it
        interval = None
        outcome = Outcome.PASS if holds(observed, objective.operator, objective.target) else Outcome.FAIL
    else:
        interval = sampled.interval_at(1.0)
        outcome = decide(interval, objective.operator, objective.target)
    reason = "" if outcome is Outcome.PASS else _sentence(objective, observed, detail, interval)
    if sampled is not None and outcome is Outcome.INCONCLUSIVE:
        reason += f": {_undecided(objective, sampled)}"
    return _finding(
        objective,
        evidence,
        outcome,
        observed=observed,
        samples=samples,
        interval=interval,
        reason=reason,
        slug="not-decided" if outcome is Outcome.INCONCLUSIVE else "",
    )


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A ratio of events that were counted one by one: events of a sample, so their share has a confidence interval."""

    events: float
    interval_at: Callable[[float], Interval]


def _sampled(objective: Objective, evidence: Mapping[str, Any]) -> _Sampled | None:
    """For a ratio of two raw counters; None for anything else, and where the two are not counted at the same times."""
    selectors = {role: query.counter for role, query in objective.queries.items() if _by_counter(objective, role)}
    if objective.kind != "ratio" or None in selectors.values() or selectors.keys() != objective.queries.keys():
        return None
    part = "good" if "good" in objective.queries else "bad"
    some, total = (
        rises(str(selectors[role]), evidence["raw"][selectors[role]], evidence["targets"], *span(evidence))
        for role in (part, "total")
    )
    times = sorted(some.keys() | total.keys())
    stretch = max(1, math.ceil(len(times) / MOST_BLOCKS))
    blocks = [times[at : at + stretch] for at in range(0, len(times), stretch)]
    every = [math.fsum(total.get(t, 0.0) for t in block) for block in blocks]
    events = [math.fsum(some.get(t, 0.0) for t in block) for block in blocks]
    if part == "bad":
        events = [whole - one for whole, one in zip(every, events, strict=True)]
    share = share_estimate(events, every)
    return _Sampled(math.fsum(every), share.interval_at) if share.interval_at is not None else None


def _undecided(objective: Objective, sampled: _Sampled) -> str:
    """What it would take."""
    times = times_to_decide(sampled.interval_at, objective.operator, objective.target)
    if times is None:
        return "what is observed lies at the limit, so that no number of events decides"
    return f"{sampled.events:.0f} events do not decide, about {math.ceil(sampled.events * times)} would"


def _worst(objective: Objective, evidence: Mapping[str, Any]) -> tuple[float, str]:
    """The value furthest from holding, and which series it was if there are several."""
    points = evidence["queries"]["value"]["instant"]
    if not points:
        raise NoData("the query gave no series at the end of the steady phase")
    finite = [(float(p["value"]), p["labels"]) for p in points if math.isfinite(float(p["value"]))]
    upward = objective.operator in ("<", "<=")
    finite.sort(key=lambda point: ((-point[0] if upward else point[0]), sorted(point[1].items())))
    broken = len(points) - len(finite)
    # A series that fails is a failure whatever the others are; none may pass while one has no number.
    if broken and (not finite or holds(finite[0][0], objective.operator, objective.target)):
        value = next(p["value"] for p in points if not math.isfinite(float(p["value"])))
        of = f"{broken} of {len(points)} series" if len(points) > 1 else "the query"
        why = "0/0?" if value == "NaN" else "a division by 0, or a raw ratio that is not between 0 and 1?"
        raise NoData(f"{of} gave {value} at the end of the steady phase: nothing was measured there ({why})")
    value, labels = finite[0]
    named = ",".join(f'{name}="{text}"' for name, text in sorted(labels.items()))
    return value, f"worst of {len(points)} series, {{{named}}}" if len(points) > 1 else ""


def _ratio(objective: Objective, evidence: Mapping[str, Any]) -> tuple[float, str]:
    """The share of good events, and the two counts."""
    part = "good" if "good" in objective.queries else "bad"
    some, total = _count(objective, evidence, part), _count(objective, evidence, "total")
    if total == 0:
        raise NoData("0/0: the total did not move in the steady phase, there was no event to judge")
    if not 0 <= some <= total * (1 + 1e-9):
        raise NoData(
            f"{part} is {some:.6g} and total {total:.6g}: the two queries do not count the same events", Outcome.ERROR
        )
    good = min(some, total) if part == "good" else max(0.0, total - some)
    return good / total, f"{good:.6g} of {total:.6g}"


def _count(objective: Objective, evidence: Mapping[str, Any], role: str) -> float:
    selector = objective.queries[role].counter
    if selector is not None and _by_counter(objective, role):
        return counted(selector, evidence["raw"][selector], evidence["targets"], *span(evidence))
    points = evidence["queries"][role]["instant"]
    if not points:
        raise NoData(f"the {role} query gave no series at the end of the steady phase")
    value = math.fsum(float(point["value"]) for point in points)
    if not math.isfinite(value):
        raise NoData(f"the {role} query gave {_encode(value)} at the end of the steady phase")
    return value


def _by_counter(objective: Objective, role: str) -> bool:
    return objective.counter and objective.queries[role].counter is not None


def _sentence(objective: Objective, observed: float, detail: str, interval: Interval | None = None) -> str:
    unit, target = objective.unit, objective.target
    direction = "over" if objective.operator in ("<", "<=") else "under"
    distance = abs(observed - target)
    if distance == 0:
        by = "exactly at the limit"
    elif unit == "%":
        by = f"{direction} by {distance * 100:.3g} percentage points"
    elif target:
        by = f"{direction} by {distance / abs(target) * 100:.3g} %"
    else:
        by = f"{direction} by {_write(distance, unit)}"
    seen = _write(observed, unit) + (f" ({detail})" if detail else "")
    if interval is not None:
        low, high = (_write(end, unit) for end in interval)
        seen += f", {CONFIDENCE * 100:.0f} % interval {low} to {high}"
    if holds(observed, objective.operator, target):
        return f"observed {seen}, target {objective.operator} {_write(target, unit)}"
    return f"observed {seen}, target {objective.operator} {_write(target, unit)}, {by}"


def _write(value: float, unit: str) -> str:
    return f"{value * 100:.6g} %" if unit == "%" else f"{value:.4g} {unit}".rstrip()


def _finding(
    objective: Objective,
    evidence: Mapping[str, Any],
    outcome: Outcome,
    *,
    observed: float | None = None,
    samples: int = 0,
    interval: Interval | None = None,
    reason: str = "",
    slug: str = "",
) -> Finding:
    return Finding(
        id=objective.id,
        source="prometheus",
        outcome=outcome,
        observed=observed,
        operator=objective.operator,
        target=objective.target,
        unit=objective.unit,
        margin=None if observed is None else margin(observed, objective.operator, objective.target),
        samples=samples,
        interval=interval,
        reason=reason,
        slug=slug,
        query="; ".join(asked["rendered"] for asked in evidence["queries"].values()),
        evidence={objective.evidence_path: "the queries, their results and the raw samples"},
    )


def _encode(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
