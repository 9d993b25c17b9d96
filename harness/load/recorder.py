"""What a worker has seen, kept as differences since the last flush and appended to its file once a second.

On the way of a request there are list appends only; numpy sorts them into buckets, a thousand at a time. What is kept
does not grow with the number of requests, but with that of names and outcomes.
"""

from __future__ import annotations

import os
import re
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.clock import mono_ns, wall_ns
from harness.load.sample_file import SampleFile
from harness.load.sink import Moment, Result
from harness.model.histogram import LARGEST, Histogram
from harness.model.load import PHASES, WARMUP, LoadPlan
from harness.results.tally import TallyFile

FIXED_POINT = 1_000_000  # scenario metrics are kept in millionths
MOST_SERIES = 1000  # names, and tag sets of scenario metrics; more means that a tag holds something like an id
OK = "ok"  # the outcome of a reply without an error
_FOLD_AT = 1000
_FULL = 3 * _FOLD_AT
_PACK = struct.Struct(f"{_FULL}q").pack
_SECOND = 1_000_000_000
_RESERVED = frozenset({"latency", "service_time", "errors", "requests", "sent", "retries", "exceptions", "arrivals"})
_METRIC = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

When = tuple[int, str]  # second since the origin, phase
Tags = dict[str, str]


class Clock:
    """Turns scheduled times into (second, phase). origin_ns: CLOCK_MONOTONIC of offset 0, or 0 while not known: what
    users do before the start belongs to the warm-up."""

    def __init__(self, plan: LoadPlan) -> None:
        self.origin_ns = 0
        self._edges = np.array(plan.phase_edges_ns)

    def cut(self, plan: LoadPlan) -> None:
        """From now on the phases are those of `plan`."""
        self._edges = np.array(plan.phase_edges_ns)

    def groups(self, dues: npt.NDArray[np.int64]) -> list[tuple[When, Any]]:
        """The distinct (second, phase) in `dues`, each with the selection of its members."""
        if not self.origin_ns:
            return [((0, WARMUP), slice(None))]
        offsets = dues - self.origin_ns
        codes = len(PHASES) * np.maximum(offsets // _SECOND, 0) + np.searchsorted(self._edges, offsets, side="right")
        if codes[0] == codes[-1] and (codes == codes[0]).all():
            return [(self._when(int(codes[0])), slice(None))]
        return [(self._when(code), codes == code) for code in np.unique(codes).tolist()]

    @staticmethod
    def _when(code: int) -> When:
        return code // len(PHASES), PHASES[code % len(PHASES)]


class RequestChannel:
    """Samples of one request name."""

    def __init__(self, name: str, clock: Clock, tally: memoryview[int]) -> None:
        self.name = name
        self.tally = tally  # sent, since the start: outlives a kill
        self._clock = clock
        self._sent = _Counted(clock)
        self._retried = _Counted(clock)
        self._ok: list[int] = []
        self._finished: dict[str, list[int]] = {OK: self._ok}
        self._folded: Counter[str] = Counter()
        self.histograms: dict[tuple[str, When], tuple[Histogram, Histogram]] = {}

    @property
    def totals(self) -> tuple[int, int]:
        """(finished, failed) since the start."""
        every = {outcome: self._folded[outcome] + len(rows) // 3 for outcome, rows in self._finished.items()}
        return sum(every.values()), sum(every.values()) - every[OK]

    def sent(self, moment: Moment) -> None:
        self._sent.add(moment.due_ns)
        self.tally[0] += 1

    def retried(self, moment: Moment) -> None:
        self._retried.add(moment.due_ns)

    def finished(self, moment: Moment, start_ns: int, end_ns: int, reply: Result) -> None:
        error = reply.error
        rows = self._ok if error is None else self._finished.setdefault(error, [])
        rows += (moment.due_ns, end_ns - moment.since_ns, end_ns - start_ns)
        if len(rows) >= _FULL:
            self._fold(error or OK, rows)

    def _fold(self, outcome: str, rows: list[int]) -> None:
        packed = _PACK(*rows) if len(rows) == _FULL else struct.pack(f"{len(rows)}q", *rows)
        table = np.frombuffer(packed, dtype=np.int64).reshape(-1, 3)
        rows.clear()
        self._folded[outcome] += len(table)
        for when, members in self._clock.groups(table[:, 0]):
            latency, service = self.histograms.setdefault((outcome, when), (Histogram(), Histogram()))
            latency.record(table[members, 1])
            service.record(table[members, 2])

    def flush(self, file: SampleFile) -> Histogram:
        """Write what is new; returns the latencies among it."""
        for outcome, rows in self._finished.items():
            if rows:
                self._fold(outcome, rows)
        recent = Histogram()
        errors: dict[When, tuple[int, int]] = {}
        for (outcome, when), (latency, service) in self.histograms.items():
            tags = {"name": self.name, "outcome": outcome}
            file.trend("latency", tags, when, "ns", 1, latency)
            file.trend("service_time", tags, when, "ns", 1, service)
            file.counter("requests", tags, when, latency.count)
            failed, total = errors.get(when, (0, 0))
            errors[when] = (failed + (outcome != OK) * latency.count, total + latency.count)
            recent.merge(latency)
        for when, (failed, total) in errors.items():
            file.rate("errors", {"name": self.name}, when, failed, total)
        for metric, counted in (("sent", self._sent), ("retries", self._retried)):
            for when, count in counted.taken():
                file.counter(metric, {"name": self.name}, when, count)
        self.histograms.clear()
        return recent


class _Counted:
    """How many there were in each second and phase."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dues: list[int] = []
        self._counts: Counter[When] = Counter()

    def add(self, due_ns: int) -> None:
        self._dues.append(due_ns)
        if len(self._dues) >= _FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        array = np.array(self._dues, dtype=np.int64)
        self._dues.clear()
        for when, members in self._clock.groups(array):
            self._counts[when] += len(array[members])

    def taken(self) -> list[tuple[When, int]]:
        """What is new since it was asked last."""
        if self._dues:
            self._fold()
        found = list(self._counts.items())
        self._counts.clear()
        return found


class ValueChannel:
    """Samples of one scenario metric under one set of tags, in fixed point."""

    def __init__(self, metric: str, tags: Tags, clock: Clock) -> None:
        self._metric, self._tags, self._clock = metric, tags, clock
        self._rows: list[int] = []
        self._histograms: dict[When, Histogram] = {}

    def add(self, due_ns: int, value: int) -> None:
        self._rows += (due_ns, value)
        if len(self._rows) >= 2 * _FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        table = np.array(self._rows, dtype=np.int64).reshape(-1, 2)
        self._rows.clear()
        for when, members in self._clock.groups(table[:, 0]):
            self._histograms.setdefault(when, Histogram()).record(table[members, 1])

    def flush(self, file: SampleFile) -> None:
        if self._rows:
            self._fold()
        for when, histogram in self._histograms.items():
            file.trend(self._metric, self._tags, when, "", FIXED_POINT, histogram)
        self._histograms.clear()


class Recorder:
    """Samples of one worker. `begin` opens its file; until then nothing may be recorded.

    A failure to write raises OSError out of `flush` or `end`: a worker that cannot record must not go on.
    """

    def __init__(self, path: Path, plan: LoadPlan) -> None:
        self._path = path
        self._file: SampleFile | None = None
        self._clock = Clock(plan)
        self.tally = TallyFile(path.with_suffix(".tally"))
        self._requests: dict[str, RequestChannel] = {}
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], ValueChannel] = {}
        self._exceptions: Counter[tuple[str, When]] = Counter()
        self.exceptions = 0
        self.last_second = Histogram()

    def begin(self, origin_ns: int, worker: str) -> None:
        """Open the file and write its first line. origin_ns: CLOCK_MONOTONIC of the timetable's offset 0."""
        self._clock.origin_ns = origin_ns
        wall = wall_ns() - mono_ns() + origin_ns
        self._file = SampleFile(self._path)
        self._file.hello(worker=worker, pid=os.getpid(), origin_mono_ns=origin_ns, origin_wall_ns=wall)

    def cut(self, plan: LoadPlan) -> None:
        """The timetable ends sooner: what is due later belongs to no phase that is judged."""
        self._clock.cut(plan)

    @property
    def file(self) -> SampleFile:
        assert self._file is not None, "nothing is recorded before begin()"
        return self._file

    def channel(self, method: str, name: str) -> RequestChannel:
        """Where requests called `name` are recorded. Raises ValueError when there are far too many names."""
        found = self._requests.get(name)
        if found is None:
            if len(self._requests) >= MOST_SERIES:
                raise ValueError(f"more than {MOST_SERIES} request names; give {method} {name} a name= without its ids")
            found = self._requests[name] = RequestChannel(name, self._clock, self.tally.row(name))
        return found

    def value(self, metric: str, value: float, tags: Mapping[str, Any], due_ns: int) -> None:
        """A scenario's own metric. Raises ValueError for a negative value, NaN, or one above 9.2e12, for a name that is
        the harness' own, and for far too many combinations of tags."""
        if not 0 <= value <= LARGEST // FIXED_POINT:
            raise ValueError(f"{metric}: {value} cannot be recorded; values lie between 0 and 9.2e12")
        key = (metric, tuple(sorted((name, str(tag)) for name, tag in tags.items())))
        channel = self._values.get(key)
        if channel is None:
            if metric in _RESERVED or not _METRIC.fullmatch(metric):
                raise ValueError(f"{metric!r} cannot be the name of a scenario's metric")
            if len(self._values) >= MOST_SERIES:
                raise ValueError(f"{metric}: more than {MOST_SERIES} combinations of tags")
            channel = self._values[key] = ValueChannel(metric, dict(key[1]), self._clock)
        channel.add(due_ns, round(value * FIXED_POINT))

    def exception(self, task: str, due_ns: int) -> None:
        """A task raised: an error of its own beside whatever its requests came to."""
        ((when, _),) = self._clock.groups(np.array([due_ns], dtype=np.int64))
        self._exceptions[task, when] += 1
        self.exceptions += 1

    def totals(self) -> tuple[int, int, int]:
        """(sent, finished, failed) requests so far; a task that raised counts as failed."""
        every = [channel.totals for channel in self._requests.values()]
        return self.tally.sent, sum(one[0] for one in every), sum(one[1] for one in every) + self.exceptions

    def flush(self, breathe: Callable[[], None] = lambda: None) -> None:
        """Append what came since the last flush. breathe: called between two series; others may record meanwhile."""
        recent = Histogram()
        for request in list(self._requests.values()):
            recent.merge(request.flush(self.file))
            breathe()
        for value in list(self._values.values()):
            value.flush(self.file)
            breathe()
        for (task, when), count in self._exceptions.items():
            tags = {"name": task, "outcome": "exception"}
            self.file.rate("errors", tags, when, count, count)
            self.file.counter("exceptions", {"name": task}, when, count)
        self._exceptions.clear()
        if recent.count:
            self.last_second = recent

    def end(self, reason: str, detail: str = "") -> None:
        """Flush and write the last line. reason: done | interrupted | error."""
        self.flush()
        self.file.end(reason, detail)
