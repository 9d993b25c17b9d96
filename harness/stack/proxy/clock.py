"""Calls at exact times: one timerfd for all, because the event loop's own timers round to a millisecond."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import time
from collections.abc import Callable

from harness.core.timer import AbsoluteTimer


class Call:
    """A call that is due; `cancelled` when nobody wants it any more."""

    __slots__ = ("cancelled", "run")

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run
        self.cancelled = False


class Clock:
    """Makes calls on the running event loop, never before their time. Times are those of time.monotonic()."""

    def __init__(self) -> None:
        self._timer = AbsoluteTimer()
        self._calls: list[tuple[float, int, Call]] = []
        self._order = itertools.count()
        asyncio.get_running_loop().add_reader(self._timer.fd, self._fire)

    def at(self, moment: float, run: Callable[[], None]) -> Call:
        """Call `run` at `moment`."""
        call = Call(run)
        heapq.heappush(self._calls, (moment, next(self._order), call))
        if self._calls[0][2] is call:
            self._arm()
        return call

    def _arm(self) -> None:
        if self._calls:
            self._timer.arm(int(self._calls[0][0] * 1e9) + 1)

    def _fire(self) -> None:
        try:
            os.read(self._timer.fd, 8)
        except BlockingIOError:  # it was armed anew since
            return
        while self._calls and self._calls[0][0] <= time.monotonic():
            _, _, call = heapq.heappop(self._calls)
            if not call.cancelled:
                call.run()
        self._arm()
