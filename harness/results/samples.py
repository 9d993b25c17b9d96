"""Reads the load workers' files back: what was recorded, by phase, metric and tags, and who did not report in full.

A worker's file has a `hello`, then records that each hold what came since the one before (so a reader adds up), then an
`end` with the number of records. trend: a histogram; rate: true of total; counter: how many; arrivals: the generator's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.model.histogram import Histogram
from harness.results.events import read_jsonl

STEADY = "steady"


@dataclass
class Series:
    """Samples of one metric, merged. kind: trend | rate | counter, or '' when nothing was recorded.

    A trend's values are integers in `unit` / `scale` (latencies: ns, scale 1).
    """

    kind: str = ""
    unit: str = ""
    scale: float = 1.0
    histogram: Histogram = field(default_factory=Histogram)
    true: int = 0
    total: int = 0
    counted: int = 0

    @property
    def count(self) -> int:
        """Number of observations."""
        return {"trend": self.histogram.count, "rate": self.total, "counter": self.counted}.get(self.kind, 0)

    def add(self, record: Mapping[str, Any]) -> None:
        self.kind, self.unit, self.scale = record["type"], record.get("unit", ""), record.get("scale", 1.0)
        if self.kind == "trend":
            self.histogram.merge(Histogram.from_dict(record["histogram"]))
        elif self.kind == "rate":
            self.true += record["true"]
            self.total += record["total"]
        else:
            self.counted += record["count"]


@dataclass
class Counts:
    """Requests of one name over all phases."""

    sent: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


@dataclass
class Arrivals:
    """The generator's own record over all phases. lateness: ns from schedule to dispatch; starved: no user was free."""

    scheduled: int = 0
    started: int = 0
    starved: int = 0
    lateness: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True)
class Worker:
    name: str
    complete: bool
    reason: str = ""


class Samples:
    """All workers' records of a run."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.arrivals = Arrivals()
        self._records: list[dict[str, Any]] = []

    def select(self, metric: str, tags: Mapping[str, str], phase: str = STEADY) -> Series:
        """All samples of `metric` in `phase` whose tags include `tags`; empty if there are none."""
        series = Series()
        for record in self._matching(metric, tags):
            if record["phase"] == phase:
                series.add(record)
        return series

    def timeline(self, metric: str, tags: Mapping[str, str]) -> dict[int, Series]:
        """The same by second since the origin, over all phases."""
        seconds: dict[int, Series] = {}
        for record in self._matching(metric, tags):
            seconds.setdefault(record["second"], Series()).add(record)
        return seconds

    def names(self) -> list[str]:
        """Metrics that were recorded at all, with the names they were recorded under."""
        return sorted({f"{r['metric']}{{name:{r['tags']['name']}}}" if "name" in r["tags"] else r["metric"]
                       for r in self._records})  # fmt: skip

    def request_names(self) -> list[str]:
        return sorted({record["tags"]["name"] for record in self._records if record["metric"] == "sent"})

    def counts(self, name: str) -> Counts:
        """What was sent under `name` and how it ended, over all phases."""
        counts = Counts()
        for record in self._matching("sent", {"name": name}):
            counts.sent += record["count"]
        for record in self._matching("requests", {"name": name}):
            outcome = record["tags"]["outcome"]
            counts.outcomes[outcome] = counts.outcomes.get(outcome, 0) + record["count"]
        return counts

    def read(self, path: Path) -> None:
        """Add one worker's file."""
        seen, end, origin = 0, None, None
        for record in read_jsonl(path):
            kind = record["type"]
            if kind == "hello":
                origin = record
            elif kind == "end":
                end = record
            elif kind == "arrivals":
                seen += 1
                self.arrivals.scheduled += record["scheduled"]
                self.arrivals.started += record["started"]
                self.arrivals.starved += record["starved"]
                self.arrivals.lateness.merge(Histogram.from_dict(record["lateness"]))
            else:
                seen += 1
                self._records.append(record)
        self.workers.append(Worker(path.stem, *_completeness(origin, end, seen)))

    def _matching(self, metric: str, tags: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        wanted = tags.items()
        return (r for r in self._records if r["metric"] == metric and wanted <= r["tags"].items())


def _completeness(hello: Any, end: Any, seen: int) -> tuple[bool, str]:
    if hello is None:
        return False, "its file is empty"
    if end is None:
        return False, "it ended without its last record"
    if end["records"] != seen:
        return False, f"{seen} of {end['records']} records are there"
    if end["reason"] != "done":
        return False, end["reason"]
    return True, ""


def load_samples(directory: Path) -> Samples:
    """The samples of all workers in `<run>/load`."""
    samples = Samples()
    for path in sorted(directory.glob("*.jsonl")):
        samples.read(path)
    return samples
