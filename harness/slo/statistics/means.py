"""Intervals of a mean, by batch means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.model.histogram import SUB
from harness.results.series import Series
from harness.slo.statistics.confidence import TAIL
from harness.slo.statistics.dependence import MOST_BLOCKS, Spread, spread
from harness.slo.statistics.shares import Interval


@dataclass(frozen=True)
class MeanEstimate:
    """mean: in the series' own integer unit; error: its standard error; found: the scatter between blocks, or None
    when there are not two."""

    mean: float
    error: float
    found: Spread | None

    def interval(self, times: float = 1.0, tail: float = TAIL) -> Interval:
        """mean +- t * error, with Student's t (B. Schmeiser, Operations Research 30 (1982) 556); unbounded where there
        are not two blocks to compare. times: as if so many times the samples had been seen; each end errs with
        probability `tail`."""
        if self.found is None:
            return -math.inf, math.inf
        half = self.found.student_at(tail) * self.error / math.sqrt(times)
        return self.mean - half, self.mean + half


def mean_estimate(series: Series, *, independent: bool = False) -> MeanEstimate:
    """The estimate of the mean of a trend. The standard error is never below that of independent samples.

    independent: every sample counts by itself, whatever the blocks show.
    """
    histogram = series.histogram
    mean = histogram.sum / histogram.count
    blocks = series.blocks(MOST_BLOCKS)
    found = spread(blocks.events, blocks.totals, share=False)
    alone = _variance(series, mean) / histogram.count
    if independent:
        return MeanEstimate(mean, math.sqrt(alone), Spread(alone, max(1, histogram.count - 1), histogram.count))
    return MeanEstimate(mean, math.sqrt(max(alone, found.variance if found else 0.0)), found)


def zeros_and_ones(series: Series) -> bool:
    """Whether a trend's values are 0 and 1 alone (`cached`, `correct`, a recall that never missed): then its mean is a
    share and is judged as one."""
    histogram, one = series.histogram, round(series.scale)
    above = [bucket for bucket in histogram.buckets if bucket]
    if histogram.max != one or len(above) != 1:
        return False
    # none is above one, so where they add up to one each, each is one
    return histogram.sum == histogram.buckets[above[0]] * one


def _variance(series: Series, mean: float) -> float:
    """Of single values: between the middles of their buckets, which are off by less than 0.1 %."""
    histogram = series.histogram
    index = np.fromiter(histogram.buckets.keys(), dtype=np.int64)
    counts = np.fromiter(histogram.buckets.values(), dtype=np.float64)
    shift = np.maximum(index // SUB - 1, 0)
    middle = (index - shift * SUB).astype(np.float64) * 2.0**shift + (2.0**shift - 1) / 2
    return float(counts @ (middle - mean) ** 2) / max(1, histogram.count - 1)
