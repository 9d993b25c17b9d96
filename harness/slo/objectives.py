"""OpenSLO objectives in two steps: what the store said is written down, and the finding is made of that alone.

The evidence is JSON and is kept at `objective.evidence_path` of the run:

    {"schema": 2, "objective": id, "window": {"start_ns", "end_ns"},
     "targets": [{"job", "instance", "interval", "health"}],           seconds between scrapes; [] when not known
     "queries": {role: {"text", "rendered", "instant": [{"labels", "value", "time"}],
                        "range": [{"labels", "samples": [[time, value], ...]}]}},
     "raw": {selector: [{"labels", "samples": [[time, value], ...]}]},  as scraped, from shortly before the window on
     "parts": {"length_ms", "ends_ms", "moments_ms"} or null,           slices or sliding windows, and when each ends
     "failed": {"question", "kind", "detail"} or null}                  the first question without an answer

Times are seconds since the epoch. A value that JSON cannot hold is text: "NaN", "+Inf", "-Inf". An `instant` is null
where the raw counters are used instead, and where there are parts: then `range` has the value at the end of each part,
or at each of `moments_ms` where a slice is judged by its moments. Schema 1 had no parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.openslo_objective import Objective
from harness.model.threshold import holds, margin
from harness.slo.estimates import Estimate
from harness.slo.objectives_collect import SCHEMA, Window, collect_objective
from harness.slo.objectives_judged import Judged
from harness.slo.objectives_parts import counters
from harness.slo.objectives_raw import NoData, counted, covered, span
from harness.slo.objectives_slices import judge_slices
from harness.slo.objectives_sliding import judge_sliding
from harness.slo.objectives_values import all_by_counter, by_counter, part_of, ratio, share, summed, worst
from harness.slo.objectives_wording import sentence
from harness.slo.statistics.decision import decide, times_to_decide
from harness.slo.statistics.shares import Interval

__all__ = ["Window", "collect_objective", "judge_objective"]

_OUTCOME = {"bad-query": Outcome.ERROR}  # every other failure is data that was due and is not there


def judge_objective(objective: Objective, evidence: Mapping[str, Any]) -> Finding:
    """The finding that `evidence` gives; asks nothing else. Whatever is missing from it is no-data, never a pass.

    Raises HarnessError evidence-schema for evidence that a later version wrote.
    """
    if evidence["schema"] > SCHEMA:
        raise HarnessError(
            "evidence-schema",
            f"{objective.evidence_path} has schema {evidence['schema']}, this version reads up to {SCHEMA}",
            "Judge the run with the version of the harness that made it.",
        )
    samples = 0
    try:
        if (failed := evidence["failed"]) is not None:
            reason = f"{failed['kind']}: {failed['detail']}"
            return _finding(objective, evidence, _OUTCOME.get(failed["kind"], Outcome.NO_DATA), reason=reason)
        start, end = span(evidence)
        for query in objective.queries.values():
            for selector in query.selectors:
                samples += covered(selector, evidence["raw"][selector], evidence["targets"], start, end)
        if objective.slices is not None:
            judged = judge_slices(objective, evidence)
        elif objective.sliding_ns is not None:
            judged = judge_sliding(objective, evidence)
        else:
            judged = _judge_whole(objective, evidence)
    except NoData as missing:
        return _finding(objective, evidence, missing.outcome, reason=str(missing), samples=samples)
    return _finding(
        objective,
        evidence,
        judged.outcome,
        observed=judged.observed,
        samples=judged.samples or samples,
        interval=judged.interval,
        reason=judged.reason,
        slug="not-decided" if judged.outcome is Outcome.INCONCLUSIVE else "",
        where=judged.where,
    )


def _judge_whole(objective: Objective, evidence: Mapping[str, Any]) -> Judged:
    """Over the whole of the steady phase. Raises NoData."""
    operator, target = objective.operator, objective.target
    if objective.kind == "threshold":
        observed, detail = worst(evidence["queries"]["value"]["instant"], operator, target)
    else:
        part = part_of(objective)
        observed, detail = ratio(part, _count(objective, evidence, part), _count(objective, evidence, "total"))
    found = Estimate(observed)  # the store's own number: no sampling law is known of it
    events = 0.0
    if all_by_counter(objective):
        rose = counters(objective, evidence)
        events = math.fsum(rose.total)
        found = share(part_of(objective), rose.some, rose.total)
    if found.interval_at is None:
        interval = None
        outcome = Outcome.PASS if holds(observed, operator, target) else Outcome.FAIL
    else:
        interval = found.interval_at()
        outcome = decide(interval, operator, target)
    reason = "" if outcome is Outcome.PASS else sentence(objective, observed, detail, interval)
    if found.interval_at is not None and outcome is Outcome.INCONCLUSIVE:
        times = times_to_decide(found.interval_at, operator, target)
        if times is None:
            reason += ": what is observed lies at the limit, so that no number of events decides"
        else:
            reason += f": {events:.0f} events do not decide, about {math.ceil(events * times)} would"
    return Judged(outcome, observed, interval, reason=reason)


def _count(objective: Objective, evidence: Mapping[str, Any], role: str) -> float:
    selector = objective.queries[role].counter
    if selector is not None and by_counter(objective, role):
        return counted(selector, evidence["raw"][selector], evidence["targets"], *span(evidence))
    return summed(role, evidence["queries"][role]["instant"])


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
    where: str = "",
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
        evidence={
            objective.evidence_path: "the queries, their results and the raw samples"
            + (f"; what was observed is the worst, {where}" if where else "")
        },
    )
