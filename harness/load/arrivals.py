"""The generator's own record: what was due, when it was dispatched, and what had to wait for a free user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.load.sample_file import SampleFile
from harness.model.histogram import Histogram
from harness.model.load import LoadPlan
from harness.results.tally import TallyFile

ON_TIME_NS = 1_000_000
_FOLD_AT = 1000
_SECOND = 1_000_000_000


@dataclass
class _Bin:
    started: int = 0
    on_time: int = 0
    dropped: int = 0
    starved: int = 0
    late: list[int] = field(default_factory=list)
    wait: list[int] = field(default_factory=list)
    lateness: Histogram = field(default_factory=Histogram)
    waited: Histogram = field(default_factory=Histogram)

    def fold(self) -> None:
        """A thousand at a time, so that no second ends with a pause."""
        late = np.array(self.late, dtype=np.int64)
        self.on_time += int(np.count_nonzero(late <= ON_TIME_NS))
        self.lateness.record(late)
        self.waited.record(self.wait)
        self.late.clear()
        self.wait.clear()


class ArrivalLog:
    """Counts of one worker by second and phase of the schedule. Times are CLOCK_MONOTONIC nanoseconds.

    lateness: from the schedule to the dispatcher's waking, which is the generator's own; waited: from there to a free
    user, which is the system's (its replies keep the users). An arrival that found none is starved.
    tally: where they are counted at once.
    """

    def __init__(self, plan: LoadPlan, tally: TallyFile | None = None) -> None:
        self._plan = plan
        self._bins: dict[tuple[int, str], _Bin] = {}
        self._last: tuple[int, int, _Bin] = (0, 0, _Bin())  # the bin of the last arrival, and where it begins and ends
        self.origin_ns = 0
        self._tally = tally
        self.started_total = 0
        self.dropped_total = 0

    def due(self, due_ns: int, lateness_ns: int) -> None:
        """The dispatcher woke for this arrival."""
        begins, ends, found = self._last
        if not begins <= due_ns < ends:
            found = self._bin(due_ns)
        late = found.late
        late.append(lateness_ns)
        if len(late) >= _FOLD_AT:
            found.fold()
        if self._tally is not None:
            self._tally.dispatched(due_ns - self.origin_ns)

    def started(self, due_ns: int) -> None:
        """A user took it."""
        begins, ends, found = self._last
        if not begins <= due_ns < ends:
            found = self._bin(due_ns)
        found.started += 1
        self.started_total += 1
        if self._tally is not None:
            self._tally.started()

    def starved(self, due_ns: int) -> None:
        """No user was free."""
        self._bin(due_ns).starved += 1

    def waited(self, due_ns: int, wait_ns: int) -> None:
        """A starved one was taken after all."""
        found = self._bin(due_ns)
        found.wait.append(wait_ns)
        if len(found.wait) >= _FOLD_AT:
            found.fold()

    def dropped(self, due_ns: int) -> None:
        """The queue of those that wait was full."""
        self._bin(due_ns).dropped += 1
        self.dropped_total += 1

    def flush(self, file: SampleFile) -> None:
        for when, found in self._bins.items():
            found.fold()
            file.arrivals(when, found.lateness.count, _fields(found))
        self._bins.clear()
        self._last = (0, 0, _Bin())

    def _bin(self, due_ns: int) -> _Bin:
        begins, ends, found = self._last
        if begins <= due_ns < ends:
            return found
        offset = due_ns - self.origin_ns
        second, phase = max(0, offset) // _SECOND, self._plan.phase_at(offset)
        found = self._bins.setdefault((second, phase), _Bin())
        begins, ends = self.origin_ns + second * _SECOND, self.origin_ns + (second + 1) * _SECOND
        edge = self.origin_ns + self._plan.warmup_ns
        if begins < edge < ends:  # the phases part within this second
            begins, ends = (begins, edge) if due_ns < edge else (edge, ends)
        self._last = (begins, ends, found)
        return found


def _fields(found: _Bin) -> dict[str, Any]:
    return {
        "started": found.started,
        "on_time_1ms": found.on_time,
        "dropped": found.dropped,
        "starved": found.starved,
        "lateness": found.lateness.as_dict(),
        "waited": found.waited.as_dict(),
    }
