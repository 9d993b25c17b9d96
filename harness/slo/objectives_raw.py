"""Raw samples: whether there are enough of them to believe a query, and what a counter counted."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from harness.core.outcome import Outcome

COVERAGE = 0.8  # share of the expected scrapes below which a query's answer is not believed
_NEAR = 3  # a sample stands for an end of the window when it is at most so many scrape intervals older

Series = Sequence[Mapping[str, Any]]


class NoData(Exception):
    """Why there is no number; `outcome` is what that makes of the finding."""

    def __init__(self, reason: str, outcome: Outcome = Outcome.NO_DATA) -> None:
        super().__init__(reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class _Scraped:
    """The series of one scrape target. interval: seconds between scrapes, 0 when nothing tells."""

    name: str
    interval: float
    series: list[list[tuple[float, float]]]

    def instants(self, start: float, end: float) -> list[float]:
        return sorted({t for samples in self.series for t, _ in samples if start <= t <= end})


def span(evidence: Mapping[str, Any]) -> tuple[float, float]:
    """Start and end of the window in seconds, to the millisecond as Prometheus keeps time."""
    window = evidence["window"]
    return window["start_ns"] // 1_000_000 / 1000, window["end_ns"] // 1_000_000 / 1000


def covered(selector: str, series: Series, targets: Series, start: float, end: float) -> int:
    """The number of raw samples of `selector` in the window.

    Raises NoData when there are none, or when a target has samples at less than COVERAGE of the scrapes that were due:
    then it was down, or the store was, or the series came to be in between.
    """
    scraped = list(_by_target(series, targets))
    if not any(target.instants(start, end) for target in scraped):
        raise NoData(f"no series {selector} in the steady phase: it is not exported, or not scraped")
    for target in scraped:
        found = len(target.instants(start, end))
        if not target.interval:
            raise NoData(f"one sample of {selector}, and the scrape interval of {target.name} is not known")
        due = max(1, math.floor((end - start) / target.interval + 1e-6))
        if found < COVERAGE * due:
            raise NoData(
                f"samples of {selector} at {found} of {due} scrapes of {target.name}, {COVERAGE:.0%} are wanted: "
                "the target or Prometheus was down in the steady phase, or the series began in it"
            )
    return sum(start <= t <= end for target in scraped for samples in target.series for t, _ in samples)


def counted(selector: str, series: Series, targets: Series, start: float, end: float) -> float:
    """By how much the counters of `selector` rose from the last sample at or before `start` to the last at or before
    `end`, summed: see rises."""
    return math.fsum(rises(selector, series, targets, start, end).values())


def rises(selector: str, series: Series, targets: Series, start: float, end: float) -> dict[float, float]:
    """By how much the counters of `selector` rose, by the time of the scrape that saw it. A value below the one before
    it is a restart from 0. A counter that appears in the window, on a target that was already scraped, counts from 0.
    Raises NoData when an end of the window has no sample."""
    found: dict[float, float] = {}
    for target in _by_target(series, targets):
        for name, at in (("begin", start), ("end", end)):
            if not any(at - _NEAR * target.interval <= t <= at for samples in target.series for t, _ in samples):
                raise NoData(f"no sample of {selector} from {target.name} at the {name} of the steady phase")
        for samples in target.series:
            then = ([value for t, value in samples if t <= start] or [0.0])[-1]
            if not math.isfinite(then):
                raise NoData(f"{selector} held NaN or an infinity in the steady phase")
            for t, now in samples:
                if start < t <= end:
                    if not math.isfinite(now):
                        raise NoData(f"{selector} held NaN or an infinity in the steady phase")
                    found[t] = found.get(t, 0.0) + (now - then if now >= then else now)
                    then = now
    return found


def scrape_interval(raw: Mapping[str, Series], targets: Series) -> float:
    """The shortest distance of scrapes among the targets that were read, in seconds; 0 when nothing tells."""
    found = (one.interval for series in raw.values() for one in _by_target(series, targets) if one.interval)
    return min(found, default=0.0)


def gaps(
    selector: str, series: Series, targets: Series, parts: Sequence[tuple[float, float]], *, counted: bool
) -> list[str]:
    """For each part, why its raw samples are not believed, or "": as `covered` says of the whole, and where they are
    counted, as `rises` says of both its ends."""
    why = [""] * len(parts)
    for target in _by_target(series, targets):
        times = sorted({t for samples in target.series for t, _ in samples})
        for at, (start, end) in enumerate(parts):
            found = bisect_right(times, end) - bisect_left(times, start)
            due = max(1, math.floor((end - start) / target.interval + 1e-6)) if target.interval else math.inf
            if found < COVERAGE * due:
                why[at] = why[at] or (
                    f"samples of {selector} at {found} of {due} scrapes of {target.name}, {COVERAGE:.0%} are wanted"
                )
            for edge in (start, end) if counted else ():
                last = bisect_right(times, edge) - 1
                if last < 0 or times[last] < edge - _NEAR * target.interval:
                    why[at] = why[at] or f"no sample of {selector} from {target.name} at an end of it"
    return why


def _by_target(series: Series, targets: Series) -> Iterator[_Scraped]:
    groups: dict[tuple[str, str], list[list[tuple[float, float]]]] = {}
    for one in series:
        key = (one["labels"].get("job", ""), one["labels"].get("instance", ""))
        groups.setdefault(key, []).append([(float(t), float(value)) for t, value in one["samples"]])
    known = {(target["job"], target["instance"]): float(target["interval"]) for target in targets}
    for (job, instance), samples in sorted(groups.items()):
        name = f"{job} ({instance})" if instance else job or "an unnamed target"
        yield _Scraped(name, known.get((job, instance)) or _usual_gap(samples), samples)


def _usual_gap(series: Sequence[Sequence[tuple[float, float]]]) -> float:
    """The median distance of samples: what a recording rule, whose target is not in the list, must be measured by."""
    times = sorted({t for samples in series for t, _ in samples})
    return median(after - before for before, after in pairwise(times)) if len(times) > 1 else 0.0
