"""The one place where the confidence of a verdict is stated."""

from __future__ import annotations

import math

CONFIDENCE = 0.95  # of the interval that is shown; a verdict uses one end of it, so it errs with half of the rest
TAIL = (1 - CONFIDENCE) / 2
FLOOR = 0.99  # the confidence at which a quantile must be decidable at all, had no sample missed


def samples_needed(quantile: float, confidence: float = FLOOR) -> int:
    """How many samples, none of them a miss, decide a quantile at `confidence`.

    The chance that n independent samples all lie below the q-quantile is q^n, so n = ln(1 - confidence) / ln q
    (the exact binomial bound with no miss): 459 for p99, 4,603 for p99.9.
    """
    return math.ceil(math.log(1 - confidence) / math.log(quantile))
