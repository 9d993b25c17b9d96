"""How far an observed accuracy lies from the expected one, in standard deviations of what chance alone would do."""

from __future__ import annotations

import math


def binomial_z(correct: int, total: int, expected: float) -> float:
    """(correct - total * expected) / sqrt(total * expected * (1 - expected)); negative where accuracy is below it.

    `expected` is a share, between 0 and 1 and neither of them: there chance has no spread to measure by.
    Raises ValueError for that, for a `total` below 1, and for a `correct` outside 0..total.
    """
    if total < 1:
        raise ValueError(f"total is {total}, expected at least 1 labelled prediction")
    if not 0 <= correct <= total:
        raise ValueError(f"correct is {correct}, expected 0 to {total}")
    if not 0 < expected < 1:
        raise ValueError(f"expected is {expected}, expected a share between 0 and 1, neither included")
    return (correct - total * expected) / math.sqrt(total * expected * (1 - expected))
