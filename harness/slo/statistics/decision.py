"""From an interval to an outcome, and to what would decide."""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.core.outcome import Outcome
from harness.model.threshold import holds
from harness.slo.statistics.shares import Interval

_MOST = 2.0**20  # beyond so many times the samples, the value lies at the limit for all that matters


def decide(interval: Interval, operator: str, target: float) -> Outcome:
    """pass where every value of the interval holds, fail where none does, inconclusive between. operator: an
    inequality, so the two ends speak for what lies between them."""
    ends = {holds(end, operator, target) for end in interval}
    return Outcome.INCONCLUSIVE if len(ends) == 2 else Outcome.PASS if ends == {True} else Outcome.FAIL


def times_to_decide(interval_at: Callable[[float], Interval], operator: str, target: float) -> float | None:
    """How many times the samples would decide, if what is seen went on; None where the value lies at the limit.

    interval_at: the interval as if so many times the samples had been seen.
    """
    undecided, decided = 1.0, 1.0
    while decide(interval_at(decided), operator, target) is Outcome.INCONCLUSIVE:
        undecided, decided = decided, decided * 2
        if decided > _MOST:
            return None
    while decided / undecided > 1.005:
        middle = math.sqrt(undecided * decided)
        if decide(interval_at(middle), operator, target) is Outcome.INCONCLUSIVE:
            undecided = middle
        else:
            decided = middle
    return decided
