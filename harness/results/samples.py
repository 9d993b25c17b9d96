"""Reads the load workers' files back: what was recorded, by phase, metric and tags, and who did not report in full.

harness.load.sample_file describes the lines. They hold differences, so a reader adds them up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from harness.model.histogram import Histogram
from harness.results.series import Packed, Series
from harness.results.tally import read_tally

STEADY = "steady"
SCHEMA = 1
_TREND, _BUCKETS, _CLOSE = b'{"type":"trend"', b'"buckets":[', b"]}}"


@dataclass
class Counts:
    """Requests of one name over all phases. sent: bytes went out on a connection, so a server should have counted it,
    with those that a worker which died had not written down;
    outcomes: ok or kind of error -> how many; retried: sent once more, on another connection."""

    sent: int = 0
    retried: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def replied(self) -> int:
        """Whole replies, whatever their status."""
        return sum(count for outcome, count in self.outcomes.items() if outcome == "ok" or outcome.startswith("http_"))


@dataclass
class Arrivals:
    """The generator's own record. lateness: ns from schedule to dispatch, which is the generator's; starved: arrivals
    that found no free user, waited: ns until they got one; dropped: the queue of those that wait was full."""

    scheduled: int = 0
    started: int = 0
    on_time_1ms: int = 0
    dropped: int = 0
    starved: int = 0
    lateness: Histogram = field(default_factory=Histogram)
    waited: Histogram = field(default_factory=Histogram)

    def add(self, record: Mapping[str, Any]) -> None:
        for name in ("scheduled", "started", "on_time_1ms", "dropped", "starved"):
            setattr(self, name, getattr(self, name) + record[name])
        for name in ("lateness", "waited"):
            getattr(self, name).merge(Histogram.from_dict(record[name]))


@dataclass(frozen=True)
class Worker:
    """complete: its file has its last line, all that this line says there is, and it ended as planned; else why not.

    lost, lost_arrivals: requests that it sent and arrivals that it dispatched of which no record is there; unsent:
    arrivals that waited in it for a user to the end; unstarted: so many of those that are recorded have no record of a
    user who took them; exact: False when there may be more of all these.
    """

    name: str
    complete: bool
    reason: str = ""
    lost: int = 0
    lost_arrivals: int = 0
    unsent: int = 0
    unstarted: int = 0
    exact: bool = True


class Samples:
    """All workers' records of a run."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.arrivals = Arrivals()
        self.arrivals_in: dict[str, Arrivals] = {}  # by phase
        self._records: dict[str, list[dict[str, Any]]] = {}  # by metric
        self._unrecorded: Counter[str] = Counter()  # by name: sent by a worker that died before it wrote them down
        self._selected: dict[tuple[str, tuple[tuple[str, str], ...], str], Series] = {}

    def select(self, metric: str, tags: Mapping[str, str], phase: str = STEADY) -> Series:
        """All samples of `metric` in `phase` whose tags include `tags`; empty if there are none. The same question
        gets the same object: many thresholds ask about one selection."""
        key = (metric, tuple(sorted(tags.items())), phase)
        if key not in self._selected:
            series = self._selected[key] = Series()
            for record in self._matching(metric, tags):
                if record["phase"] == phase:
                    series.add(record)
        return self._selected[key]

    def without(self, seconds: Container[int]) -> Samples:
        """Those that were due in other seconds since the origin."""
        made = Samples()
        made.workers, made.arrivals, made.arrivals_in = self.workers, self.arrivals, self.arrivals_in
        made._unrecorded = self._unrecorded
        for metric, records in self._records.items():
            made._records[metric] = [record for record in records if record["second"] not in seconds]
        return made

    def timeline(self, metric: str, tags: Mapping[str, str]) -> dict[int, Series]:
        """The same by second since the origin, over all phases."""
        series = Series()
        for record in self._matching(metric, tags):
            series.add(record)
        return series.seconds

    def names(self) -> list[str]:
        """Metrics that were recorded at all, with the names they were recorded under."""
        return sorted({f"{metric}{{name:{r['tags']['name']}}}" if "name" in r["tags"] else metric
                       for metric, records in self._records.items() for r in records})  # fmt: skip

    def records(self) -> Iterator[Mapping[str, Any]]:
        """All that was recorded beside arrivals, of all workers and phases, as harness.load.sample_file describes it;
        histograms packed."""
        for records in self._records.values():
            yield from records

    def request_names(self) -> list[str]:
        """Names under which requests were sent."""
        return sorted({record["tags"]["name"] for record in self._records.get("sent", ())})

    def tag_values(self, metric: str, tag: str, tags: Mapping[str, str]) -> list[str]:
        """The values of `tag` that samples of `metric` with these tags have."""
        return sorted({record["tags"][tag] for record in self._matching(metric, tags) if tag in record["tags"]})

    def counts(self, name: str) -> Counts:
        """What was sent under `name` and how it ended, over all phases."""
        counts = Counts()
        counts.sent = sum(record["count"] for record in self._matching("sent", {"name": name})) + self._unrecorded[name]
        counts.retried = sum(record["count"] for record in self._matching("retries", {"name": name}))
        for record in self._matching("requests", {"name": name}):
            outcome = record["tags"]["outcome"]
            counts.outcomes[outcome] = counts.outcomes.get(outcome, 0) + record["count"]
        return counts

    def read(self, path: Path) -> None:
        """Add one worker's file."""
        self._selected.clear()
        reading = _Reading()
        with path.open("rb") as lines:
            for line in lines:
                record = reading.take(line)
                if record is None:
                    continue
                if record["type"] == "arrivals":
                    self.arrivals.add(record)
                    self.arrivals_in.setdefault(record["phase"], Arrivals()).add(record)
                else:
                    self._records.setdefault(record["metric"], []).append(record)
        if why := reading.missing():
            self._lose(path, why, reading)
        else:
            self.workers.append(Worker(path.stem, True))

    def _lose(self, path: Path, why: str, reading: _Reading) -> None:
        """A worker whose file is incomplete: what its tally says that it did, and its file does not have."""
        tally = read_tally(path.with_suffix(".tally"))
        if tally is None:
            self.workers.append(Worker(path.stem, False, why, exact=False))
            return
        unrecorded = Counter(tally.sent)
        unrecorded.subtract(reading.sent)
        self._unrecorded.update({name: count for name, count in unrecorded.items() if count > 0})
        lost, least = max(0, unrecorded.total()), "" if tally.exact else "at least "
        if lost or not tally.exact:
            why = f"{why}; {least}{lost} of the {sum(tally.sent.values())} requests that it sent are in no record"
        arrivals = max(0, tally.arrivals - reading.arrivals)
        unsent = max(0, tally.arrivals - tally.started - reading.dropped)
        unstarted = reading.arrivals - reading.started - reading.dropped
        self.workers.append(Worker(path.stem, False, why, lost, arrivals, unsent, unstarted, tally.exact))

    def _matching(self, metric: str, tags: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        wanted = tags.items()
        return (record for record in self._records.get(metric, ()) if wanted <= record["tags"].items())


class _Reading:
    """One file while it is read: its lines, decoded, and what is wrong with it."""

    def __init__(self) -> None:
        self._hello = False
        self._end: dict[str, Any] | None = None
        self._wrong = ""
        self._totals: Counter[str] = Counter()
        self._records = 0
        self.sent: Counter[str] = Counter()  # by name
        self.started = self.dropped = 0  # arrivals

    @property
    def arrivals(self) -> int:
        return self._totals["arrivals"]

    def take(self, line: bytes) -> dict[str, Any] | None:
        """The record in `line`, or None if it is none or a kill or a full disk has cut it."""
        try:
            record, pairs = _split(line)
            kind = record["type"]
            if kind == "hello":
                self._hello = True
                if record["schema"] != SCHEMA:
                    self._wrong = f"its schema is {record['schema']}, this version reads {SCHEMA}"
                return None
            if kind == "end":
                self._end = record
                return None
            if kind == "trend":
                record["histogram"] = Packed.read(record["histogram"], pairs)
            if record["seq"] != self._records:
                self._wrong = self._wrong or f"record {self._records} is missing"
            size = {"trend": lambda: record["histogram"].count, "rate": lambda: record["total"],
                    "counter": lambda: record["count"], "arrivals": lambda: record["scheduled"]}[kind]()  # fmt: skip
        except (ValueError, KeyError, TypeError, OverflowError):
            self._wrong = self._wrong or f"what follows record {self._records} cannot be read"
            return None
        self._records = record["seq"] + 1
        self._totals[kind] += size
        if record.get("metric") == "sent":
            self.sent[record["tags"]["name"]] += size
        elif kind == "arrivals":
            self.started += record["started"]
            self.dropped += record["dropped"]
        return record

    def missing(self) -> str:
        """Why the file is incomplete, or nothing."""
        if not self._hello:
            return "its file is empty"
        if self._end is None:
            return "it ended without its last record"
        if self._wrong:
            return self._wrong
        if self._records != self._end["records"]:
            return f"{self._records} of {self._end['records']} records are there"
        wanted = {kind: total for kind, total in self._end["totals"].items() if total}
        if wanted != {kind: total for kind, total in self._totals.items() if total}:
            return f"its records hold {dict(self._totals)}, its last line says {wanted}"
        if self._end["reason"] != "done":
            return f"{self._end['reason']}: {self._end['detail']}" if self._end["detail"] else str(self._end["reason"])
        return ""


def _split(line: bytes) -> tuple[dict[str, Any], bytes]:
    """The record in `line`, and of a trend, which is nearly all of a file, the text of its buckets by itself."""
    if not line.startswith(_TREND):
        return orjson.loads(line), b""
    head, _, rest = line.partition(_BUCKETS)
    pairs, close, after = rest.rpartition(_CLOSE)
    if not close or after.strip():
        raise ValueError("a record that is cut")
    return orjson.loads(head + _BUCKETS + _CLOSE), pairs


class SampleTail:
    """Follows the workers' files while they grow: each call of `new` gives what has come since the last one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Path, tuple[_Reading, int]] = {}  # and how far it has been read

    def new(self) -> Iterator[dict[str, Any]]:
        """Records of metrics in whole lines; the line that is being written is left for the next call."""
        for path in sorted(self._directory.glob("*.jsonl")):
            reading, at = self._files.setdefault(path, (_Reading(), 0))
            with path.open("rb") as file:
                file.seek(at)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._files[path] = reading, at + len(whole) + len(newline)
            for line in whole.splitlines():
                record = reading.take(line)
                if record is not None and record["type"] != "arrivals":
                    yield record


def load_samples(directory: Path) -> Samples:
    """The samples of all workers in `<run>/load`."""
    samples = Samples()
    for path in sorted(directory.glob("*.jsonl")):
        samples.read(path)
    return samples
