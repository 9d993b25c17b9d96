"""Had the system settled? What still goes up or down through the steady phase has no value that the run could show."""

from __future__ import annotations

import numpy as np

from harness.core.duration import format_duration
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.histogram import bucket_edges
from harness.results.samples import Samples
from harness.results.series import Blocks
from harness.slo.statistics.trend import trend

MOST_BLOCKS, LEAST_BLOCKS = 20, 8
LEAST_IN_BLOCK = 5  # samples, or its median says little
CHANCE = 0.01  # of calling a settled run unsettled
MATTERS = 0.1  # of the tightest bound
CHANGE = 0.25  # of the median over the steady phase: less is not worth a verdict


def judge_stationarity(name: str, samples: Samples, tightest: float | None = None) -> Finding | None:
    """Whether the median latency of requests called `name` has a trend over the steady phase, of at least CHANGE and
    beyond chance. A trend makes the run inconclusive: longer, or later, it would have shown something else.

    tightest: the lowest bound on this latency in seconds, if there is one: a change of less than MATTERS of it is no
    reason to doubt what is promised. None where the phase is too short to tell, or the requests too few: 8 blocks of
    whole seconds with 5 samples each.
    """
    series = samples.select("latency", {"name": name})
    if series.count == 0:
        return None
    blocks = series.blocks(MOST_BLOCKS)
    medians = _medians(blocks)
    if len(medians) < LEAST_BLOCKS:
        return None
    found, middle = trend(medians), float(np.median(medians))
    share = abs(found.change) / middle if middle else 0.0
    by_chance = found.chance > CHANCE
    allowed = CHANGE if tightest is None or not middle else max(CHANGE, MATTERS * tightest * 1e9 / middle)
    settled = by_chance or share < allowed
    reason = "" if settled else _reason(found.change, medians, middle, blocks.seconds)
    return Finding(
        f"stationarity/latency{{name:{name}}}",
        "client",
        Outcome.PASS if settled else Outcome.INCONCLUSIVE,
        observed=None if by_chance else share,  # of no trend there is no size to tell
        operator="<",
        target=allowed,
        unit="%",
        samples=series.count,
        reason=reason,
        slug="not-stationary" if not settled else "",
        evidence={"load": f"latency samples named {name}, by second"},
    )


def _reason(change: float, medians: list[float], middle: float, seconds: int) -> str:
    third = len(medians) // 3
    begin, end = float(np.median(medians[:third])), float(np.median(medians[-third:]))
    if change < 0:
        what, remedy = "fell", "it was still warming up: lengthen load.warmup"
    else:
        what, remedy = "rose", "it does not keep up with this rate or something fills up: lengthen the run or lower it"
    return (
        f"the median latency {what} from {format_duration(begin)} to {format_duration(end)} through the steady phase "
        f"({abs(change) / middle:.0%} of its middle, over {len(medians)} blocks of {seconds} s); {remedy}"
    )


def _medians(blocks: Blocks) -> list[float]:
    """Of each block with enough samples, in ns: the middle of the bucket that holds it."""
    return [
        sum(bucket_edges(int(blocks.buckets[int(np.searchsorted(below, (total + 1) // 2))]))) / 2
        for below, total in zip(blocks.below, blocks.totals.tolist(), strict=True)
        if total >= LEAST_IN_BLOCK
    ]
