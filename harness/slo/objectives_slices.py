"""Time slices: the share of good ones, or the mean of their ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.duration import format_duration
from harness.core.outcome import Outcome
from harness.model.openslo_objective import Objective
from harness.model.threshold import holds
from harness.slo.estimates import Estimate
from harness.slo.objectives_judged import Judged
from harness.slo.objectives_parts import Part, bounds, compared, counters, read_parts
from harness.slo.objectives_raw import NoData
from harness.slo.objectives_values import all_by_counter, part_of, share
from harness.slo.objectives_wording import sentence
from harness.slo.statistics.decision import decide, times_to_decide


def judge_slices(objective: Objective, evidence: Mapping[str, Any]) -> Judged:
    """The outcome over all slices. Raises NoData: a slice without data is never good, so it may fail and not pass."""
    assert objective.slices is not None
    slices = read_parts(objective, evidence)
    return _good(objective, slices) if objective.slices.operator else _mean(objective, slices, evidence)


def _good(objective: Objective, slices: Sequence[Part]) -> Judged:
    """A fact of this run: so few slices cannot decide what share of all slices is good."""
    known = [one for one in slices if not one.missing]
    good = [one for one in known if _is_good(objective, one)]
    most = (len(slices) - len(known) + len(good)) / len(slices)  # as if all that are missing were good
    if len(known) < len(slices) and holds(most, objective.operator, objective.target):
        raise _missing(slices)
    observed = len(good) / len(known) if known else 0.0
    number = f"{len(good)} of {len(known)} slices of {format_duration(objective.part_ns or 0)}"
    if holds(observed, objective.operator, objective.target):
        return Judged(Outcome.PASS, observed, samples=len(known))
    bad = next((one for one in known if not _is_good(objective, one)), None)
    reason = sentence(objective, observed, f"{number} good")
    if bad is not None:
        reason += f"; the first bad one {bad.when}: {_seen(objective, bad)}"
    if len(known) < len(slices):
        reason += f"; {len(slices) - len(known)} more without data"
    return Judged(Outcome.FAIL, observed, samples=len(known), reason=reason)


def _is_good(objective: Objective, one: Part) -> bool:
    if objective.by_moments:
        assert objective.slices is not None
        return holds(one.told.observed, ">=", objective.slices.share or 0.0)
    operator, target = compared(objective)
    return holds(one.told.observed, operator, target)


def _seen(objective: Objective, one: Part) -> str:
    operator, target = compared(objective)
    what = f"{operator} {target:.6g}"
    if objective.by_moments and objective.slices is not None:
        return f"{what} at {one.detail}, wanted at {(objective.slices.share or 0.0) * 100:.6g} % of them"
    detail = f" ({one.detail})" if one.detail else ""
    return f"{one.told.observed:.6g}{detail}, wanted {what}"


def _mean(objective: Objective, slices: Sequence[Part], evidence: Mapping[str, Any]) -> Judged:
    if any(one.missing for one in slices):
        raise _missing(slices)
    operator, target = objective.operator, objective.target
    if not all_by_counter(objective):
        found = Estimate(math.fsum(one.told.observed for one in slices) / len(slices))
    else:
        found = _weighted(objective, evidence)
    detail = f"mean of {len(slices)} slices of {format_duration(objective.part_ns or 0)}"
    if found.interval_at is None:
        outcome = Outcome.PASS if holds(found.observed, operator, target) else Outcome.FAIL
        reason = "" if outcome is Outcome.PASS else sentence(objective, found.observed, detail)
        return Judged(outcome, found.observed, samples=len(slices), reason=reason)
    interval = found.interval_at()
    outcome = decide(interval, operator, target)
    reason = "" if outcome is Outcome.PASS else sentence(objective, found.observed, detail, interval)
    if outcome is Outcome.INCONCLUSIVE:
        times = times_to_decide(found.interval_at, operator, target)
        wanted = "no number of slices decides" if times is None else f"about {math.ceil(len(slices) * times)} would"
        reason += f": {len(slices)} slices do not decide, {wanted}"
    return Judged(outcome, found.observed, interval, len(slices), reason)


def _weighted(objective: Objective, evidence: Mapping[str, Any]) -> Estimate:
    """The mean of the slices' ratios as a share of events, each weighing as much as all n of its slice and all m slices
    let it: w = 1 / (m n), twice so much in a scrape that two slices share. Events of unequal weight tell as much as
    1 / sum(w^2) equal ones (L. Kish, Survey Sampling, section 11.7), so that is what the totals add up to."""
    counted, spans = counters(objective, evidence), bounds(evidence)
    weights = [0.0] * len(counted.times)
    for start, end in spans:
        here = counted.between(start, end)
        events = math.fsum(counted.total[here])
        for at in range(here.start, here.stop):
            weights[at] += 1 / (len(spans) * events)
    told = 1 / math.fsum(weight**2 * total for weight, total in zip(weights, counted.total, strict=True))
    some, total = (
        [weight * told * one for weight, one in zip(weights, events, strict=True)]
        for events in (counted.some, counted.total)
    )
    return share(part_of(objective), some, total)


def _missing(slices: Sequence[Part]) -> NoData:
    without = [one for one in slices if one.missing]
    first = without[0]
    return NoData(f"{len(without)} of {len(slices)} slices without data, the first {first.when}: {first.missing}")
