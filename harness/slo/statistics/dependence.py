"""How much samples that lean on each other tell: the variance of a share or a mean, by blocks of time.

A slow moment makes many requests slow at once, so n requests tell less than n independent ones. The run is cut into
blocks. Blocks that are long against what makes neighbours alike are nearly independent, so the scatter of their sums
shows the variance of the whole, whatever happens within them: the method of batch means (B. Schmeiser, Operations
Research 30 (1982) 556, who shows that 10 to 30 batches are enough and more gain little).

The length of a block is chosen by the data: from 32 blocks on, as long as the correlation of neighbours is
significant at 5 % and 20 or more blocks are left, two become one (G. S. Fishman and L. S. Yarberry, INFORMS J.
Computing 9 (1997) 296).

The variance is itself an estimate. Its degrees of freedom are b - 1 for sums that are normal; rare bursts make them
heavy-tailed and the estimate poorer, so that with the excess kurtosis k of the sums they are
2 / (2 / (b - 1) + k / b), which gives the estimate the variance that it has (F. E. Satterthwaite, Biometrics Bulletin
2 (1946) 110). Of a share, the kurtosis that independent events have too, (1 - 6 p (1 - p)) / (n p (1 - p)) in a block
of n, is no sign of bursts and is taken off first: the binomial law of the events already allows for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from harness.slo.statistics.confidence import TAIL

MOST_BLOCKS = 32
_MERGE_FROM = 20
_LEAST_FREEDOM = 0.25  # of b - 1: so few sums do not tell their own kurtosis well either
_SIGNIFICANT = 1.645  # of r * sqrt(b), one-sided 5 %

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """variance: of sum(events) / sum(totals); freedom: degrees of freedom of that estimate; blocks: behind it."""

    variance: float
    freedom: float
    blocks: int

    @property
    def student(self) -> float:
        """Student's t that stands for the normal quantile of TAIL."""
        return self.student_at(TAIL)

    def student_at(self, tail: float) -> float:
        """Student's t that stands for the normal quantile of `tail`."""
        return float(-stdtrit(self.freedom, tail))


def spread(events: npt.ArrayLike, totals: npt.ArrayLike, *, share: bool) -> Spread | None:
    """The variance of sum(events) / sum(totals) over consecutive blocks; None with fewer than two.

    share: the events are some of the totals, so their sum is binomial if they are independent; else they are a sum of
    values.

    With d_j = events_j - p * totals_j, which allows for blocks of different size (a ratio estimator, W. G. Cochran,
    Sampling Techniques, section 6.4):  b / (b - 1) * sum(d^2) / sum(totals)^2
    """
    some, every = np.asarray(events, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    whole = float(every.sum())
    if some.size < 2 or not whole:
        return None
    sums = some - float(some.sum()) / whole * every
    while sums.size >= _MERGE_FROM and _alike(sums):
        sums = np.add.reduceat(sums, np.arange(0, sums.size, 2))
    number = int(sums.size)
    squares = sums * sums
    square = float(squares.sum())
    if not square:
        return Spread(0.0, number - 1, number)
    variance = number / (number - 1) * square / whole**2
    kurtosis = number * float(squares @ squares) / square**2 - 3 * (number - 1) / (number + 1)
    if share:
        chance = float(some.sum()) / whole
        each = chance * (1 - chance)
        kurtosis -= max(0.0, (1 - 6 * each) / (whole / number * each)) if each > 0 else 0.0
    freedom = 2 / (2 / (number - 1) + max(0.0, kurtosis) / number)
    return Spread(variance, max(_LEAST_FREEDOM * (number - 1), freedom), number)


def effective_samples(share: float, total: int, found: Spread | None, tail: float = TAIL) -> float:
    """How many independent samples tell as much about `share` as these `total` do; never more than `total`.

    n* = p (1 - p) / variance * (z / t)^2: the second factor widens for the variance's own uncertainty (E. L. Korn and
    B. I. Graubard, Survey Methodology 24 (1998) 193). Where nothing varies (no event, or only events) nothing can be
    known of bursts and n* = n. 0 when there are not two blocks to compare.
    """
    if share <= 0 or share >= 1:
        return float(total)
    if found is None:
        return 0.0
    if not found.variance:
        return float(total)
    ratio = float(-ndtri(tail)) / found.student_at(tail)
    return min(float(total), share * (1 - share) / found.variance * ratio**2)


def _alike(sums: Array) -> bool:
    """Whether neighbouring block sums are correlated more than chance explains: of independent blocks the lag-1
    correlation scatters by 1 / sqrt(b) around -1 / b."""
    square = float(sums @ sums)
    if not square:
        return False
    found = float(sums[1:] @ sums[:-1]) / square + 1 / sums.size
    return found * math.sqrt(sums.size) > _SIGNIFICANT
