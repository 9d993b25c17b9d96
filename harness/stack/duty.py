"""Duty cycles: a process and all below it are stopped for a share of each period, and so get that much less of a CPU.
Standard library only: the supervisor keeps the beat."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Any

from harness.stack.processes import Children
from harness.stack.sending import send


@dataclass
class Duty:
    """One service's. running, stopped: seconds of each period; due: monotonic seconds of the next change. What is
    counted are whole periods: it runs at first, and a period ends when it goes on."""

    pid: int
    running: float
    stopped: float
    due: float
    began: float
    is_stopped: bool = False
    since: float = 0.0
    periods: int = 0
    seconds: float = 0.0
    seconds_stopped: float = 0.0


class DutyCycles:
    """All duty cycles of a stack. `advance` is to be called when it asked for it."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._duties: dict[str, Duty] = {}

    def begin(self, name: str, share: float, period: float) -> None:
        """share: of the time that it may run, 0 to 1; period: seconds. Raises ValueError."""
        if name in self._duties:
            raise ValueError(f"{name} has a duty cycle already")
        if not 0 < share < 1 or not 0.01 <= period <= 10:
            raise ValueError(f"no duty cycle of {share} in {period} s")
        pid = self._children.running(name).pid
        now = time.monotonic()
        self._duties[name] = Duty(pid, share * period, (1 - share) * period, now + share * period, now)

    def end(self, name: str) -> None:
        """Let it run; nothing happens to one that has no duty cycle."""
        duty = self._duties.pop(name, None)
        if duty is not None and duty.is_stopped and self._is(name, duty):
            send(duty.pid, signal.SIGCONT, tree=True)

    def report(self, name: str) -> dict[str, Any]:
        """How many whole periods there were, their seconds, and those of them that it was stopped. Raises ValueError
        for one that has no duty cycle."""
        if name not in self._duties:
            raise ValueError(f"{name} has no duty cycle")
        duty = self._duties[name]
        return {"periods": duty.periods, "seconds": duty.seconds, "seconds_stopped": duty.seconds_stopped}

    def advance(self) -> float | None:
        """Stop and continue what is due; returns seconds until the next is. Never raises: what cannot be stopped is
        let go, and its count stands still."""
        now = time.monotonic()
        for name, duty in list(self._duties.items()):
            if not self._is(name, duty):
                del self._duties[name]  # it died, or is another one by now
            elif duty.due <= now:
                try:
                    self._turn(duty, now)
                except OSError:
                    del self._duties[name]
        return min((max(0.0, duty.due - now) for duty in self._duties.values()), default=None)

    def _turn(self, duty: Duty, now: float) -> None:
        send(duty.pid, signal.SIGCONT if duty.is_stopped else signal.SIGSTOP, tree=True)
        if duty.is_stopped:
            duty.periods += 1
            duty.seconds = now - duty.began
            duty.seconds_stopped += now - duty.since
        duty.is_stopped, duty.since = not duty.is_stopped, now
        # On a timetable, so that a late turn makes the next part shorter; one that is missed by far is not made up for.
        duty.due = max(duty.due, now - duty.running) + (duty.stopped if duty.is_stopped else duty.running)

    def _is(self, name: str, duty: Duty) -> bool:
        child = self._children.table.get(name)
        return child is not None and child.state == "running" and child.pid == duty.pid
