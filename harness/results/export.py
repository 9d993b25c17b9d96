"""What the client recorded, second by second, in formats that other tools read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import harness
from harness.core.jsonio import canonical, read_json
from harness.model.hdr import hdr_encoded
from harness.model.histogram import Histogram
from harness.model.phases import PHASES_EVIDENCE, Timeline
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from harness.results.series import Packed

FORMATS = ("hdr", "csv", "json")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
COLUMNS = ("second", "phase", "metric", "name", "outcome", "tags", "unit", "count", "min", "mean", *QUANTILES, "max")
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One second of one series, of all workers. unit, scale: a value v of the histogram is v / scale in unit."""

    second: int
    phase: str
    metric: str
    tags: tuple[tuple[str, str], ...]
    unit: str
    scale: int
    histogram: Histogram

    @property
    def label(self) -> str:
        """As `latency/search/ok`, in characters that a log of histograms can hold."""
        parts = [self.metric, *(value for _, value in sorted(self.tags, key=lambda tag: tag[0] != "name"))]
        return "/".join("".join("_" if c.isspace() or c in ',"' else c for c in part) for part in parts)


def rows(samples: Samples) -> list[Row]:
    """By second, then by series."""
    found: dict[tuple[Any, ...], Row] = {}
    for record in samples.records():
        if record["type"] == "trend":
            tags = tuple(sorted(record["tags"].items()))
            key = (record["second"], record["phase"], record["metric"], tags)
            if key not in found:
                found[key] = Row(*key, record["unit"], record["scale"], Histogram())
            found[key].histogram.merge(_open(record["histogram"]))
    order = {"warmup": 0, "steady": 1, "drain": 2}
    return sorted(found.values(), key=lambda row: (row.second, order.get(row.phase, 3), row.metric, row.tags))


def export(run: RunDir, form: str) -> Iterator[str]:
    """The text of `form` in pieces: hdr, csv or json."""
    found = rows(load_samples(run.load))
    if form == "hdr":
        yield from _hdr(run, found)
    elif form == "csv":
        yield from _csv(found)
    else:
        yield canonical({"schema": 1, "unit_of_times": "ms", "seconds": [_values(row) for row in found]}).decode()


def _hdr(run: RunDir, found: list[Row]) -> Iterator[str]:
    """HdrHistogram's log, version 1.3: one line a second and series, times in ns, the maximum in ms."""
    timeline = _timeline(run)
    origin = (timeline.origin_wall_ns if timeline else 0) / 1e9
    yield f"#[Logged with slo-harness {harness.__version__}]\n#[Histogram log format version 1.3]\n"
    if timeline:
        for phase in timeline.phases:
            yield f"#[phase {phase.name}: {phase.start_ns / 1e9:.3f} to {phase.end_ns / 1e9:.3f}]\n"
    yield f"#[StartTime: {origin:.3f} (seconds since epoch)]\n"
    yield '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    merged: dict[tuple[int, str], Histogram] = {}
    for row in found:
        if row.unit == "ns":
            merged.setdefault((row.second, row.label), Histogram()).merge(row.histogram)
    for (second, label), histogram in merged.items():
        yield f"Tag={label},{second:.3f},1.000,{histogram.max / 1e6:.3f},{hdr_encoded(histogram)}\n"


def _csv(found: list[Row]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.DictWriter(line, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in found:
        writer.writerow(_values(row))
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _values(row: Row) -> dict[str, Any]:
    """Times in ms, what a scenario recorded as it recorded it."""
    histogram = row.histogram
    per = 1e6 if row.unit == "ns" else row.scale
    tags = dict(row.tags)
    told = {name: round(histogram.quantile(q) / per, 6) for name, q in QUANTILES.items()}
    return {
        "second": row.second,
        "phase": row.phase,
        "metric": row.metric,
        "name": tags.pop("name", ""),
        "outcome": tags.pop("outcome", ""),
        "tags": ";".join(f"{name}={value}" for name, value in tags.items()),
        "unit": "ms" if row.unit == "ns" else row.unit,
        "count": histogram.count,
        "min": histogram.min / per,
        "mean": round(histogram.sum / histogram.count / per, 6),
        **told,
        "max": histogram.max / per,
    }


def _timeline(run: RunDir) -> Timeline | None:
    path = run.path / PHASES_EVIDENCE
    return Timeline.from_dict(read_json(path)) if path.exists() else None


def _open(packed: Packed) -> Histogram:
    made = Histogram()
    made.buckets = dict(zip(packed.buckets.tolist(), packed.counts.tolist(), strict=True))
    made.count, made.sum, made.min, made.max = packed.count, packed.sum, packed.min, packed.max
    return made
