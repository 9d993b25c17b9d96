"""What a worker has seen, kept as differences since the last flush and appended to its file once a second."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.core.clock import mono_ns, wall_ns
from harness.model.histogram import Histogram
from harness.model.load import LoadPlan

SCHEMA = 1
FIXED_POINT = 1_000_000  # scenario metrics are kept in millionths
_Key = tuple[str, str, tuple[tuple[str, str], ...], str, int]


class Recorder:
    """Samples of one worker. Times are CLOCK_MONOTONIC nanoseconds; `origin_ns` is the start of the timetable."""

    def __init__(self, path: Path, plan: LoadPlan) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._plan = plan
        self._origin_ns = 0
        self._records = 0
        self._trends: dict[_Key, list[int]] = {}
        self._counts: dict[_Key, list[int]] = {}  # [true, total] of rates, [count, 0] of counters
        self._arrivals = [0, 0, 0]
        self._lateness: list[int] = []
        self.sent = self.done = self.failed = 0
        self.last_second = Histogram()

    def begin(self, origin_ns: int, name: str) -> None:
        self._origin_ns = origin_ns
        wall = wall_ns() - mono_ns() + origin_ns
        self._write({"type": "hello", "schema": SCHEMA, "worker": name, "pid": os.getpid(),
                     "origin_mono_ns": origin_ns, "origin_wall_ns": wall})  # fmt: skip

    def sent_request(self, name: str, due_ns: int) -> None:
        """The bytes of a request went out on a connection: the server should count it."""
        self.sent += 1
        self._count("counter", "sent", (("name", name),), due_ns, 1, 0)

    def finished_request(self, name: str, due_ns: int, start_ns: int, end_ns: int, outcome: str) -> None:
        """A request ended: `outcome` is ok or the kind of error."""
        tags = (("name", name), ("outcome", outcome))
        failed = outcome != "ok"
        self.done += 1
        self.failed += failed
        self._trend("latency", tags, due_ns, end_ns - due_ns)
        self._trend("service_time", tags, due_ns, end_ns - start_ns)
        self._count("rate", "errors", (("name", name),), due_ns, failed, 1)
        self._count("counter", "requests", tags, due_ns, 1, 0)

    def value(self, metric: str, value: float, tags: Mapping[str, str], due_ns: int) -> None:
        """A scenario's own metric. Raises ValueError for a negative value or NaN."""
        if not value >= 0:
            raise ValueError(f"{metric}: {value} cannot be recorded; values are 0 or more")
        self._trend(metric, tuple(sorted(tags.items())), due_ns, round(value * FIXED_POINT))

    def arrival(self, lateness_ns: int) -> None:
        """An arrival was dispatched, `lateness_ns` after it was due."""
        self._arrivals[0] += 1
        self._lateness.append(lateness_ns)

    def started(self) -> None:
        self._arrivals[1] += 1

    def starved(self) -> None:
        """An arrival found no free user, though the generator was on time."""
        self._arrivals[2] += 1

    def flush(self) -> None:
        """Append what came since the last flush. Raises OSError: a recorder that cannot record must end the run."""
        recent = Histogram()
        for (_, metric, tags, phase, second), values in self._trends.items():
            histogram = Histogram()
            histogram.record(values)
            if metric == "latency":
                recent.merge(histogram)
            timed = metric in ("latency", "service_time")
            self._record({"type": "trend", "metric": metric, "tags": dict(tags), "phase": phase, "second": second,
                          "unit": "ns" if timed else "", "scale": 1 if timed else FIXED_POINT,
                          "histogram": histogram.as_dict()})  # fmt: skip
        for (kind, metric, tags, phase, second), (first, total) in self._counts.items():
            numbers = {"true": first, "total": total} if kind == "rate" else {"count": first}
            self._record(
                {"type": kind, "metric": metric, "tags": dict(tags), "phase": phase, "second": second, **numbers}
            )
        if any(self._arrivals):
            lateness = Histogram()
            lateness.record(self._lateness)
            scheduled, started, starved = self._arrivals
            self._record({"type": "arrivals", "scheduled": scheduled, "started": started, "starved": starved,
                          "lateness": lateness.as_dict()})  # fmt: skip
        self._trends, self._counts, self._arrivals, self._lateness = {}, {}, [0, 0, 0], []
        if recent.count:
            self.last_second = recent

    def end(self, reason: str) -> None:
        self.flush()
        self._write({"type": "end", "reason": reason, "records": self._records})
        os.close(self._fd)

    def _trend(self, metric: str, tags: tuple[tuple[str, str], ...], due_ns: int, value: int) -> None:
        key = ("trend", metric, tags, *self._when(due_ns))
        self._trends.setdefault(key, []).append(max(0, value))

    def _count(
        self, kind: str, metric: str, tags: tuple[tuple[str, str], ...], due_ns: int, first: int, total: int
    ) -> None:
        key = (kind, metric, tags, *self._when(due_ns))
        both = self._counts.setdefault(key, [0, 0])
        both[0] += first
        both[1] += total

    def _when(self, due_ns: int) -> tuple[str, int]:
        offset = due_ns - self._origin_ns
        return self._plan.phase_at(offset), max(0, offset // 1_000_000_000)

    def _record(self, record: dict[str, Any]) -> None:
        self._write(record)
        self._records += 1

    def _write(self, record: dict[str, Any]) -> None:
        os.write(self._fd, orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
