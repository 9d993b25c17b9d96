"""Intervals of quantiles of a series that was kept as histograms per second."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np

from harness.model.histogram import bucket_edges
from harness.results.series import Series
from harness.slo.statistics.confidence import TAIL
from harness.slo.statistics.dependence import MOST_BLOCKS, effective_samples, spread
from harness.slo.statistics.shares import Interval, exact


class QuantileEstimate:
    """What a sample tells of the `quantile` (0 < q < 1) of the law that it comes from, whatever the law.

    A value v lies above the quantile as surely as the share of samples up to v exceeds q. So v belongs to the interval
    unless the exact binomial interval of that share leaves q out (inversion of the sign test: for independent samples
    these are the order statistics of H. A. David and H. N. Nagaraja, Order Statistics, section 7.1; with an effective
    sample size R. S. Woodruff, J. Am. Stat. Assoc. 47 (1952) 635, and C. A. Francisco and W. A. Fuller, Annals of
    Statistics 19 (1991) 454). How many samples count as independent is seen at v itself, from how the share scatters
    from block to block.
    """

    def __init__(self, series: Series, quantile: float, *, independent: bool = False) -> None:
        blocks = series.blocks(MOST_BLOCKS)
        self._series, self._quantile, self._blocks = series, quantile, blocks
        self._independent = independent  # every sample counts by itself
        self._below = blocks.below.sum(axis=0)
        self._middle = int(np.searchsorted(self._below, math.ceil(Fraction(repr(quantile)) * series.count)))
        self._told: Callable[[int, float], tuple[float, float]] = cache(self._tell)

    @property
    def blind(self) -> bool:
        """Whether all samples lie in one second, so that nothing shows how far they depend on each other."""
        return not self._independent and self._blocks.totals.size < 2 and self._below.size > 1

    def interval(self, times: float = 1.0, tail: float = TAIL) -> Interval:
        """The confidence interval, in the series' own integer unit, rounded outward to the edges of buckets; 0 or
        infinity where the sample is too small for an end. times: as if so many times the samples had been seen; each
        end errs with probability `tail`."""
        last = self._below.size - 1
        # the highest bucket whose share surely lies under the quantile, the lowest whose share surely lies over it
        under = _boundary(-1, self._middle, lambda one: self._share(one, times, tail)[1] < self._quantile)
        over = _boundary(last, self._middle - 1, lambda one: self._share(one, times, tail)[0] > self._quantile)
        low = 0.0 if under is None else float(max(self._edges(under + 1)[0], self._series.histogram.min))
        high = math.inf if over is None else float(min(self._edges(over)[1] - 1, self._series.histogram.max))
        return low, high

    def _share(self, column: int, times: float, tail: float) -> Interval:
        """The interval of the share of samples in the buckets up to and with number `column`."""
        share, effective = self._told(column, tail)
        return exact(share, effective * times, tail) if effective else (0.0, 1.0)

    def _tell(self, column: int, tail: float) -> tuple[float, float]:
        """That share, and how many independent samples tell as much about it."""
        if not 0 <= column < self._below.size - 1:
            return float(column >= 0), float(self._series.count)
        share = float(self._below[column]) / self._series.count
        if self._independent:
            return share, float(self._series.count)
        found = spread(self._blocks.below[:, column], self._blocks.totals, share=True)
        return share, effective_samples(share, self._series.count, found, tail)

    def _edges(self, column: int) -> tuple[int, int]:
        return bucket_edges(int(self._blocks.buckets[column]))


def _boundary(sure: int, open_: int, decided: Callable[[int], bool]) -> int | None:
    """The number next to the undecided ones, between `sure`, which is decided if any is, and `open_`, which is not."""
    if not decided(sure):
        return None
    while abs(sure - open_) > 1:
        middle = (sure + open_) // 2
        if decided(middle):
            sure = middle
        else:
            open_ = middle
    return sure
