"""What the samples of a threshold tell of the number that it bounds, or that they tell nothing but themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.model.threshold import Threshold
from harness.results.series import Series
from harness.slo.statistics.confidence import TAIL
from harness.slo.statistics.dependence import MOST_BLOCKS, effective_samples, spread
from harness.slo.statistics.means import mean_estimate, zeros_and_ones
from harness.slo.statistics.quantiles import QuantileEstimate
from harness.slo.statistics.shares import Interval, share_interval


class IntervalAt(Protocol):
    """The interval as if so many times the samples had been seen; each end errs with probability `tail`."""

    def __call__(self, times: float = 1.0, tail: float = TAIL) -> Interval: ...


@dataclass(frozen=True)
class Estimate:
    """observed: in the threshold's unit; blind: the samples all lie in one second, so that nothing is known of how they
    depend on each other."""

    observed: float
    interval_at: IntervalAt | None = None  # None: no sampling law, judged as it stands
    blind: bool = False


def estimate(threshold: Threshold, series: Series, steady_seconds: float, *, independent: bool = False) -> Estimate:
    """The estimate for `threshold` from a series with at least one sample, of a kind that has the aggregation.

    Counts, minimum, maximum and a counter's rate have no sampling law: they are facts of this run. `==` and `!=` speak
    of the samples themselves too. independent: every sample counts by itself, whatever the blocks show.
    """
    plain = threshold.operator in ("==", "!=")
    unit = 1e9 if series.unit == "ns" else series.scale
    if threshold.aggregation == "count":
        return Estimate(float(series.count))
    if series.kind == "counter":
        return Estimate(series.count / steady_seconds)
    if series.kind == "rate":
        found = _share(series, independent)
    elif threshold.aggregation in ("min", "max"):
        histogram = series.histogram
        return Estimate((histogram.min if threshold.aggregation == "min" else histogram.max) / unit)
    elif threshold.aggregation == "avg":
        found = _mean(series, unit, independent)
    else:
        assert threshold.quantile is not None
        found = _quantile(series, threshold.quantile, unit, independent)
    return Estimate(found.observed) if plain else found


def share_estimate(events: Sequence[float], totals: Sequence[float], *, independent: bool = False) -> Estimate:
    """Of the share of events, from consecutive blocks of time.

    Where a block has more events than there were, or less than none, the two were not counted at the same moments (a
    request under way stands in one of two counters). Such blocks cannot be compared, and the events count as
    independent.
    """
    every = math.fsum(totals)
    some = min(max(0.0, math.fsum(events)), every)
    comparable = not independent and all(0 <= event <= total for event, total in zip(events, totals, strict=True))
    found = spread(events, totals, share=True)

    def effective(tail: float) -> float:
        return effective_samples(some / every, round(every), found, tail) if comparable else every

    def interval_at(times: float = 1.0, tail: float = TAIL) -> Interval:
        if not (told := effective(tail)):
            return 0.0, 1.0
        return share_interval(some * times, every * times, told * times, tail)

    return Estimate(some / every, interval_at, blind=not effective(TAIL))


def _share(series: Series, independent: bool) -> Estimate:
    blocks = series.blocks(MOST_BLOCKS)
    return share_estimate((blocks.events / series.scale).tolist(), blocks.totals.tolist(), independent=independent)


def _mean(series: Series, unit: float, independent: bool) -> Estimate:
    if zeros_and_ones(series):
        return _share(series, independent)
    found = mean_estimate(series, independent=independent)
    if not found.error:  # all samples are equal
        return Estimate(found.mean / unit)
    return Estimate(found.mean / unit, _scaled(found.interval, unit), blind=found.found is None)


def _quantile(series: Series, quantile: float, unit: float, independent: bool) -> Estimate:
    found = QuantileEstimate(series, quantile, independent=independent)
    observed = series.histogram.quantile(quantile) / unit
    return Estimate(observed, _scaled(found.interval, unit), blind=found.blind)


def _scaled(interval: IntervalAt, unit: float) -> IntervalAt:
    def scaled(times: float = 1.0, tail: float = TAIL) -> Interval:
        low, high = interval(times, tail)
        return low / unit, high / unit

    return scaled
