"""Which thresholds can be broken beyond doubt before a run is over, and when one is. Pure: the gate asks while the load
runs, and the verdict asks again of the samples in the run directory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.model.histogram import bucket_edges
from harness.model.threshold import Threshold, holds
from harness.results.series import Series
from harness.slo.statistics.confidence import TAIL
from harness.slo.statistics.sequential import BLOCK_SECONDS, Wealth

SECOND = 1_000_000_000
ABORT_EVIDENCE = "evidence/abort.json"
_KINDS = {"errors": "rate", "requests": "counter", "sent": "counter", "retries": "counter", "exceptions": "counter"}
_BELOW = ("<", "<=")
_ABOVE = (">", ">=")

Rule = Literal["share", "mean", "fact"]


@dataclass(frozen=True, slots=True)
class Watch:
    """How a threshold is watched. share: of samples that miss, at most `limit` of all; mean: of values that are not
    negative, at most `limit`; fact: a number that cannot recover once it is out of bounds."""

    threshold: Threshold
    rule: Rule
    limit: float = 0.0


def watch(threshold: Threshold) -> Watch | None:
    """How it is watched, or None: then it is judged at the end alone."""
    if threshold.window_seconds is not None:
        return None
    kind = _KINDS.get(threshold.metric, "trend")
    if _is_fact(threshold, kind):
        return Watch(threshold, "fact")
    below, above = threshold.operator in _BELOW, threshold.operator in _ABOVE
    limit, rule = 0.0, "share"
    if kind == "trend" and threshold.quantile is not None:
        limit = 1 - threshold.quantile if below else threshold.quantile
    elif kind == "rate" and threshold.aggregation == "rate":
        limit = threshold.value if below else 1 - threshold.value
    elif kind == "trend" and threshold.aggregation == "avg":
        limit, rule = (threshold.value, "mean") if below else (1 - threshold.value, "share")
    else:
        return None
    possible = limit >= 0 and (limit < 1 or rule == "mean")
    return Watch(threshold, "mean" if rule == "mean" else "share", limit) if (below or above) and possible else None


def _is_fact(threshold: Threshold, kind: str) -> bool:
    aggregation, operator = threshold.aggregation, threshold.operator
    if aggregation == "max":
        return kind == "trend" and operator in (*_BELOW, "==")
    if aggregation == "min":
        return kind == "trend" and operator in (*_ABOVE, "==")
    if aggregation == "rate" and kind == "rate":
        return operator == "==" and threshold.value in (0.0, 1.0)
    grows = aggregation == "count" or (aggregation == "rate" and kind == "counter")
    return grows and operator in (*_BELOW, "==")


def beyond_recovery(threshold: Threshold, some: Sequence[Series], count: int, steady_seconds: float) -> bool:
    """Whether a fact is out of bounds for good, however the run goes on. some: samples, of `count` in all;
    steady_seconds: as planned."""
    return any(_out(threshold, series, count, steady_seconds) for series in some if series.count)


def _out(threshold: Threshold, series: Series, count: int, steady_seconds: float) -> bool:
    if not _is_fact(threshold, series.kind):
        return False
    operator = threshold.operator
    if threshold.aggregation in ("min", "max"):
        unit = 1e9 if series.unit == "ns" else series.scale
        histogram = series.histogram
        seen = (histogram.min if threshold.aggregation == "min" else histogram.max) / unit
    elif threshold.aggregation == "rate" and series.kind == "rate":
        return series.true > 0 if threshold.value == 0 else series.true < series.total
    else:
        seen = count / (steady_seconds if threshold.aggregation == "rate" else 1)
    if operator == "==":
        operator = ">=" if threshold.aggregation == "min" else "<="
    return not holds(seen, operator, threshold.value)


@dataclass
class Course:
    """One watch in the course of a run. seen, allowed: so far; void: what it rests on does not hold, so that it tells
    nothing; out: a fact is out of bounds.

    Blocks of BLOCK_SECONDS count from the first second of the steady phase, and only whole ones are taken.
    """

    watch: Watch
    first: int  # second of the steady phase's start, since the origin
    steady_seconds: float  # as planned
    blocks: int = 0
    samples: int = 0
    seen: float = 0.0
    allowed: float = 0.0
    void: bool = False
    out: bool = False
    wealth: Wealth = field(default_factory=Wealth)

    @property
    def next_second(self) -> int:
        """The first second since the origin that was not taken yet."""
        return self.first + self.seconds

    @property
    def chance(self) -> float:
        """A bound on the chance of seeing this much, at any look, of a threshold that holds."""
        return float(not self.out) if self.watch.rule == "fact" else self.wealth.chance

    def whole(self, settled: int) -> int:
        """How many blocks lie in the first `settled` seconds since the origin."""
        return max(0, settled - self.first) // BLOCK_SECONDS

    @property
    def seconds(self) -> int:
        """How much of the steady phase has been seen."""
        return self.blocks * BLOCK_SECONDS

    def advance(self, seconds: Mapping[int, Series], blocks: int) -> None:
        """Take the samples of every block up to number `blocks`. seconds: by second since the origin, as recorded."""
        while self.blocks < blocks:
            start = self.first + self.blocks * BLOCK_SECONDS
            self._take([seconds[at] for at in range(start, start + BLOCK_SECONDS) if at in seconds])
            self.blocks += 1

    def broken(self, alpha: float) -> bool:
        """Whether the threshold is broken beyond doubt by what was taken."""
        if self.watch.rule == "fact":
            return self.out
        return not self.void and self.wealth.breaks(alpha)

    def _take(self, block: Sequence[Series]) -> None:
        self.samples += sum(series.count for series in block)
        if self.watch.rule == "fact":
            threshold, seconds = self.watch.threshold, self.steady_seconds
            self.out = self.out or beyond_recovery(threshold, block, self.samples, seconds)
            return
        seen = math.fsum(self._seen(series) for series in block)
        allowed = math.fsum(self.watch.limit * series.count for series in block)
        self.seen, self.allowed = self.seen + seen, self.allowed + allowed
        self.wealth.add(max(0.0, seen), allowed)

    def _seen(self, series: Series) -> float:
        """What is bounded, in one second: how many samples miss, or the sum of the values."""
        threshold = self.watch.threshold
        below = threshold.operator in _BELOW
        if series.kind == "rate":
            return float(series.true if below else series.total - series.true)
        unit = 1e9 if series.unit == "ns" else series.scale
        if threshold.quantile is not None:
            return float(_misses(series, threshold, unit))
        if below:
            return series.histogram.sum / unit
        # an average from below is a share of what is missing to 1, as long as no value is above 1
        self.void = self.void or series.histogram.max > unit
        return (series.count * unit - series.histogram.sum) / unit


def _misses(series: Series, threshold: Threshold, unit: float) -> int:
    """Samples on the wrong side of a quantile's bound; of a bucket that the bound cuts, none."""
    bound = round(threshold.value * unit)
    if threshold.operator in _BELOW:
        wrong = bound if threshold.operator == "<" else bound + 1  # the least value that misses
        return sum(count for at, count in series.histogram.buckets.items() if bucket_edges(at)[0] >= wrong)
    wrong = bound + 1 if threshold.operator == ">" else bound
    return sum(count for at, count in series.histogram.buckets.items() if bucket_edges(at)[1] <= wrong)


def courses(thresholds: Iterable[Threshold], warmup_ns: int, duration_ns: int) -> tuple[float, list[Course]]:
    """(alpha, the course of each threshold that is watched, at its start).

    alpha: the chance of a false alarm that one test has for all its looks. TAIL, the chance of an error that a verdict
    has, is divided over the tests; facts cannot err and take no part. warmup_ns, duration_ns: as planned.
    """
    watches = [found for threshold in thresholds if (found := watch(threshold)) is not None]
    tests = sum(one.rule != "fact" for one in watches)
    first, seconds = warmup_ns // SECOND, duration_ns / SECOND
    return TAIL / max(1, tests), [Course(one, first, seconds) for one in watches]
