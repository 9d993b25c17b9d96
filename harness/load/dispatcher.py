"""Hands arrivals to users on an absolute timetable. Late work goes out at once; nothing is skipped silently."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import chain, takewhile
from typing import Any

from harness.core.timer import AbsoluteTimer
from harness.load.arrivals import ArrivalLog
from harness.load.http_connection import READ, Runtime

BATCH = 64  # arrivals dispatched before replies are read again


class Lane:
    """The users of one class: those that are idle, and the arrivals that wait for one of them."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.credit = 0.0
        self.idle: list[Any] = []
        self.backlog: deque[tuple[int, int]] = deque()  # (due, when it began to wait)


class Dispatcher:
    """One timetable, one lane a user class. Arrivals are spread over the lanes by weight, evenly and reproducibly.

    `take` runs in the users, everything else in the loop.
    """

    def __init__(self, runtime: Runtime, log: ArrivalLog, weights: Sequence[float], queue_limit: int) -> None:
        self._runtime = runtime
        self._log = log
        self._lanes = [Lane(weight) for weight in weights]
        self._total = sum(weights)
        self._room = queue_limit
        self._timer = AbsoluteTimer()
        self._watcher = runtime.hub.loop.io(self._timer.fd, READ)
        self._dues: Iterator[int] = iter(())
        self._next: int | None = None
        self._last = 0  # the arrival that was dispatched last
        self._under_way: set[int] = set()
        self.finished = False
        self.busy = 0

    @property
    def idle(self) -> int:
        return sum(len(lane.idle) for lane in self._lanes)

    @property
    def waiting(self) -> int:
        return sum(len(lane.backlog) for lane in self._lanes)

    @property
    def open_from(self) -> int | None:
        """When the first arrival was or is due that is not dispatched, or not answered yet; None when there is none."""
        waiting = [lane.backlog[0][0] for lane in self._lanes if lane.backlog]
        coming = [self._next] if self._next is not None else []
        return min([*waiting, *coming, *self._under_way], default=None)

    def take(self, lane: int) -> int:
        """Block the calling user until an arrival is its own; returns the time it was due. Pair with `give_back`."""
        own = self._lanes[lane]
        if own.backlog:
            due, since = own.backlog.popleft()
            self._room += 1
            self._log.waited(due, time.monotonic_ns() - since)
        else:
            user = self._runtime.current()
            own.idle.append(user)
            try:
                due = self._runtime.hub.switch()
            except BaseException:  # the user is being stopped
                if user in own.idle:
                    own.idle.remove(user)
                raise
        self._log.started(due)
        self.busy += 1
        self._under_way.add(due)
        return due

    def give_back(self, due: int) -> None:
        """The task of the arrival that was taken has ended."""
        self.busy -= 1
        self._under_way.discard(due)

    def start(self, dues: Iterator[int]) -> None:
        """Work through `dues` (CLOCK_MONOTONIC ns, ascending); returns at once, `finished` tells when all are out."""
        self._dues = dues
        self._next = next(dues, None)
        if self._next is None:
            self.finished = True
            return
        self._timer.arm(self._next)
        self._watcher.start(self._on_time)

    def add(self, dues: Iterator[int]) -> None:
        """Work through these too (CLOCK_MONOTONIC ns, ascending). What is past due goes out at once."""
        left = self._dues if self._next is None else chain([self._next], self._dues)
        self._dues = merge(left, dues)
        self._next = next(self._dues, None)
        if self._next is not None:
            self.finished = False
            self._timer.arm(self._next)
            self._watcher.start(self._on_time)

    def end_at(self, moment: int) -> int:
        """Dispatch nothing that is due at `moment` (CLOCK_MONOTONIC ns) or later; what waits for a user still goes
        out. Returns when the timetable ends: later than `moment` if that came too late."""
        self._dues = takewhile(lambda due: due < moment, self._dues)
        if self._next is not None and self._next >= moment:
            self._next = None
            self.stop()
        return max(moment, self._last + 1)

    def give_up(self) -> None:
        """Drop what waits for a user."""
        for lane in self._lanes:
            for due, _ in lane.backlog:
                self._log.dropped(due)
            self._room += len(lane.backlog)
            lane.backlog.clear()

    def stop(self) -> None:
        """Dispatch nothing more."""
        self.finished = True
        self._watcher.stop()

    def close(self) -> None:
        self.stop()
        self._watcher.close()
        self._timer.close()

    def _on_time(self) -> None:
        for _ in range(BATCH):
            due = self._next
            if due is None:
                self.stop()
                return
            now = time.monotonic_ns()
            if due > now:
                break
            self._next = next(self._dues, None)
            self._dispatch(due, now)
        if self._next is not None:
            self._timer.arm(self._next)

    def _dispatch(self, due: int, now: int) -> None:
        self._last = due
        self._log.due(due, now - due)
        lane = self._choose()
        if lane.idle:
            # the one that came back last: its connection is warm, and few connections carry a small load
            lane.idle.pop().switch(due)
        else:
            self._log.starved(due)
            if self._room > 0:
                self._room -= 1
                lane.backlog.append((due, now))
            else:
                self._log.dropped(due)

    def _choose(self) -> Lane:
        """Smooth weighted round robin: of weights 3 and 1 the order is a a b a."""
        if len(self._lanes) == 1:
            return self._lanes[0]
        for lane in self._lanes:
            lane.credit += lane.weight
        best = max(self._lanes, key=lambda lane: lane.credit)
        best.credit -= self._total
        return best
