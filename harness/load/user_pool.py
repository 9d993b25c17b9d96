"""The users of a closed load: each goes on when it has been answered, as many at a time as the plan says.

There is no timetable of arrivals: a task is due when its user begins it, so latency counts from the sending, and a slow
system is asked less often. What is planned are the moments at which a user may begin: when it comes, and when its pause
is over. How much later it began is the generator's lateness.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from harness.core.timer import AbsoluteTimer
from harness.load.arrivals import ArrivalLog
from harness.load.http_connection import READ, Runtime

BATCH = 64  # users that are let go before replies are read again


class UserPool:
    """Stands in the place of a Dispatcher. A user has a seat, numbered from 0; with n users those below n work.

    One whose seat is to be empty ends its task first, and waits: it is not stopped, and comes back as it was.
    `take` runs in the users, everything else in the loop.
    """

    waiting = 0  # nobody queues: there are no arrivals

    def __init__(self, runtime: Runtime, log: ArrivalLog) -> None:
        self._runtime, self._log = runtime, log
        self._steps: deque[tuple[int, int]] = deque()  # (moment, how many users from then on), the last one's the end
        self._seats = 0
        self._standing: dict[int, Any] = {}  # seat -> the user that waits for it to be wanted
        self._coming: deque[tuple[int, int]] = deque()  # (seat, when it was to begin) of those to be let go
        self._rested: dict[int, int] = {}  # seat -> when its pause is over
        self._under_way: set[int] = set()
        self._timer = AbsoluteTimer()
        self._watcher = runtime.hub.loop.io(self._timer.fd, READ)
        self._last = 0  # when the task that was begun last was due
        self.finished = False
        self.busy = 0

    @property
    def idle(self) -> int:
        return len(self._standing)

    @property
    def open_from(self) -> int | None:
        """When the first task that is not answered yet began, or when the next may; None when there is none."""
        coming = [] if self.finished else [time.monotonic_ns()]
        return min([*coming, *self._under_way], default=None)

    def pause(self, seat: int, until_ns: int) -> None:
        """The user of that seat begins no task before (CLOCK_MONOTONIC): it sleeps by itself."""
        self._rested[seat] = until_ns

    def take(self, seat: int) -> int:
        """Block the calling user until it may begin a task; returns when that is due, which is now. Pair with
        `give_back`."""
        planned = self._rested.pop(seat, 0)
        now = time.monotonic_ns()
        while seat >= self._seats or now >= self._end:
            self._standing[seat] = self._runtime.current()
            try:
                planned = self._runtime.hub.switch()
            except BaseException:  # the user is being stopped
                self._standing.pop(seat, None)
                raise
            now = time.monotonic_ns()
        due = self._last = max(now, self._last + 1)  # no two are the same
        self._log.due(due, max(0, due - planned) if planned else 0)
        self._log.started(due)
        self.busy += 1
        self._under_way.add(due)
        return due

    def give_back(self, due: int) -> None:
        """The task that was begun then has ended."""
        self.busy -= 1
        self._under_way.discard(due)

    def start(self, levels: Sequence[tuple[int, int]], end_ns: int) -> None:
        """Follow the levels: (moment, how many users from then on), ascending, up to `end_ns`; all CLOCK_MONOTONIC.
        Returns at once, `finished` tells when nobody is to begin any more."""
        self._steps.extend(step for step in levels if step[0] < end_ns)
        self._steps.append((end_ns, 0))
        self._timer.arm(self._steps[0][0])
        self._watcher.start(self._on_time)

    def end_at(self, moment: int) -> int:
        """Begin nothing at `moment` or later. Returns when the load ends: later than `moment` if that came too late."""
        end = max(moment, self._last + 1)
        self._steps = deque([*(step for step in self._steps if step[0] < end), (end, 0)])
        self._timer.arm(self._steps[0][0])
        return end

    def give_up(self) -> None:
        """Nobody waits."""

    def stop(self) -> None:
        """Let nobody begin any more."""
        self.finished, self._seats = True, 0
        self._steps.clear()
        self._coming.clear()
        self._watcher.stop()

    def close(self) -> None:
        self.stop()
        self._watcher.close()
        self._timer.close()

    @property
    def _end(self) -> int:
        return self._steps[-1][0] if self._steps else 0

    def _on_time(self) -> None:
        now = time.monotonic_ns()
        while self._steps and self._steps[0][0] <= now:
            moment, users = self._steps[0]
            self._coming.extend((seat, moment) for seat in range(self._seats, users))
            self._seats = users
            if len(self._steps) == 1:
                self.stop()
                return
            self._steps.popleft()
        for _ in range(min(BATCH, len(self._coming))):
            seat, moment = self._coming.popleft()
            if seat < self._seats and seat in self._standing:
                self._standing.pop(seat).switch(moment)
        self._timer.arm(now if self._coming else self._steps[0][0])


def seats_by_weight(weights: Sequence[float], users: int) -> list[int]:
    """For each seat the class of its user, by number: at every level the classes are in proportion to their weights."""
    credit, found = [0.0] * len(weights), []
    for _ in range(users):
        credit = [has + weight for has, weight in zip(credit, weights, strict=True)]
        best = max(range(len(weights)), key=lambda one: credit[one])
        credit[best] -= sum(weights)
        found.append(best)
    return found
