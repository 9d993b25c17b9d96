"""Which of a stack's series changed most while a fault was in force, against their own noise before it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev
from typing import Any

from harness.telemetry.metrics_port import MetricsStore, QueryFailed, Samples

# Buckets are summed up by _sum and _count; what a runtime says of itself changes all the time.
SELECTOR = (
    '{job=~".+",__name__!~".*_bucket|.*_info|go_.*|python_.*|process_.*|scrape_.*|promhttp_.*|prometheus_tsdb_.*"}'
)
LEAST = 0.25  # share of its larger value by which a series must change to be told
NOISE = 3.0  # times its standard deviation before
COUNTED = ("_total", "_count", "_sum")
Window = tuple[float, float]  # wall seconds
Windows = Mapping[str, Window]  # before | during | after
Value = float | None  # None: no sample in that window


@dataclass(frozen=True, slots=True)
class Changed:
    """One series. how: value | rate (per second) | mean (of a histogram or summary) | count (of series).
    change: 0 to 1, the share of the larger of both values by which they differ, less the noise."""

    job: str
    name: str
    labels: Mapping[str, str]
    how: str
    before: Value
    during: Value
    after: Value
    change: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def most_changed(store: MetricsStore, windows: Windows, first: Sequence[str], most: int) -> list[Changed] | QueryFailed:
    """The series that changed most, each metric of a job once; at equal change those of the jobs in `first` lead."""
    start, end = (int(moment * 1e9) for moment in (windows["before"][0], windows["after"][1]))
    answer = store.raw(SELECTOR, start, end)
    return answer if isinstance(answer, QueryFailed) else rank(answer.series, windows, first, most)


def rank(series: Iterable[Samples], windows: Windows, first: Sequence[str], most: int) -> list[Changed]:
    """See most_changed."""
    found = _gone_together(changed for one in _with_means(series) if (changed := _changed(*one, windows)) is not None)
    place = {job: at for at, job in enumerate(first)}
    found.sort(key=lambda one: (-round(one.change, 1), place.get(one.job, len(place)), -one.change, one.name))
    kept: dict[tuple[str, str], Changed] = {}
    for one in found:
        kept.setdefault((one.job, one.name.removesuffix("_total").removesuffix("_count")), one)
    return list(kept.values())[:most]


Points = Sequence[tuple[float, float]]
Named = tuple[Mapping[str, str], str, Points]


def _with_means(series: Iterable[Samples]) -> Iterable[Named]:
    """(labels, how, values): counters as rates; sums divided by their counts, as they change."""
    every = {tuple(sorted(one.labels.items())): one for one in series}
    for one in every.values():
        name = one.labels.get("__name__", "")
        if not name.endswith(COUNTED):
            yield one.labels, "value", one.samples
            continue
        grown = _grown(one.samples)
        if not name.endswith("_sum"):
            yield one.labels, "rate", [(at, more / seconds) for at, more, seconds in grown]
            continue
        base = name.removesuffix("_sum")
        count = every.get(tuple(sorted({**one.labels, "__name__": f"{base}_count"}.items())))
        if count is not None:
            counts = {at: more for at, more, _ in _grown(count.samples)}
            means = [(at, more / counts[at]) for at, more, _ in grown if counts.get(at, 0) > 0]
            yield {**one.labels, "__name__": base}, "mean", means


def _grown(values: Points) -> list[tuple[float, float, float]]:
    """(time, increase, seconds) between neighbours; a counter that was born anew began at 0."""
    return [
        (at, now - before if now >= before else now, at - since)
        for (since, before), (at, now) in itertools.pairwise(values)
        if at > since
    ]


def _changed(labels: Mapping[str, str], how: str, values: Points, windows: Windows) -> Changed | None:
    parts = {
        name: [value for at, value in values if since < at <= until and math.isfinite(value)]
        for name, (since, until) in windows.items()
    }
    before, during, after = (fmean(parts[name]) if parts[name] else None for name in ("before", "during", "after"))
    if before is None and during is None:
        return None
    if how == "mean" and (before is None or during is None):  # there were no events, of which nothing follows
        return None
    if during is None:  # gone with the fault
        change = 1.0
    else:
        larger = max(abs(before or 0), abs(during))
        noise = NOISE * (_error(parts["before"]) + _error(parts["during"]))
        change = (min(larger, abs(during - (before or 0))) - noise) / larger if larger else 0.0
    if change < LEAST:
        return None
    rest = {name: value for name, value in labels.items() if name not in ("__name__", "job", "instance")}
    return Changed(labels.get("job", ""), labels.get("__name__", ""), rest, how, before, during, after, change)


def _error(values: Sequence[float]) -> float:
    """The standard error of their mean."""
    return 0.0 if not values else float(pstdev(values) / len(values) ** 0.5)


def _gone_together(found: Iterable[Changed]) -> list[Changed]:
    """Of a job that is not scraped all series are gone: one that says how many, in place of each."""
    kept: list[Changed] = []
    gone: dict[str, list[Changed]] = {}
    for one in found:
        if one.during is None:
            gone.setdefault(one.job, []).append(one)
        else:
            kept.append(one)
    for job, lost in gone.items():
        back = sum(one.after is not None for one in lost)
        kept.append(Changed(job, "series without samples", {}, "count", 0, len(lost), len(lost) - back, 1.0))
    return kept
