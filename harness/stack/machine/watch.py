"""Watches the machine: what the hypervisor takes, and how late a process wakes that only sleeps. In a process of its
own, so that what else goes on in ours is not taken for a stall; run by its path, for the standard library is enough.

    python -I -S .../harness/stack/machine/watch.py OUT.jsonl PERIOD_NS PARENT [--each]

It appends a line a second to OUT.jsonl, until SIGTERM or the end of the process PARENT, which started it: a
harness.model.machine.Reading, with --each also the lateness of every wake as `late`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

STAT = Path("/proc/stat")
_SECOND = 1_000_000_000
_STEAL = 7  # user nice system idle iowait irq softirq steal; guest time is part of user's and nice's


def jiffies(text: str) -> tuple[int | None, int | None]:
    """(all, stolen) of all processors since boot, from the text of /proc/stat; None for what it does not say.

    A sandbox that has the file and keeps no account writes zeros: that says nothing either.
    """
    words = text.split("\n", 1)[0].split()
    if not words or words[0] != "cpu" or not all(word.isdigit() for word in words[1:]):
        return None, None
    fields = [int(word) for word in words[1 : _STEAL + 2]]
    if not any(fields):
        return None, None
    return sum(fields), fields[_STEAL] if len(fields) > _STEAL else None


def read_jiffies(path: Path = STAT) -> tuple[int | None, int | None]:
    """The same from the kernel; None where it cannot be read."""
    try:
        return jiffies(path.read_text())
    except OSError:
        return None, None


def first_in_line() -> str:
    """Let the kernel prefer this process to all ordinary ones, if we may; returns how it is scheduled."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return "other"
    return "fifo"


class Watch:
    """Sleeps `period_ns` at a time and says every second what it saw."""

    def __init__(self, out: int, period_ns: int, parent: int, *, each: bool) -> None:
        self._out, self._period, self._parent, self._each = out, period_ns, parent, each
        self._over = False

    def stop(self, *_: object) -> None:
        self._over = True

    def run(self) -> None:
        """Until stop() is called, or the parent is gone."""
        period = self._period
        self._say({"period_ns": period, "scheduling": first_in_line()})
        self._tell(0, 0, 0, [])
        while not self._over and os.getppid() == self._parent:
            until = time.monotonic_ns() + _SECOND
            wakes = worst = due = 0
            late: list[int] = []
            while not self._over:
                began = time.monotonic_ns()
                if began >= until:
                    break
                time.sleep(period / 1e9)
                over = time.monotonic_ns() - began - period
                wakes += 1
                if self._each:
                    late.append(over)
                if over > worst:
                    worst, due = over, time.time_ns() - over
            self._tell(wakes, worst, due, late)
        self._say({"end": True, "cpu_seconds": time.process_time()})

    def _tell(self, wakes: int, late_ns: int, due_wall_ns: int, late: list[int]) -> None:
        total, steal = read_jiffies()
        line: dict[str, Any] = {"wall_ns": time.time_ns(), "total": total, "steal": steal, "wakes": wakes}
        line |= {"late_ns": late_ns, "due_wall_ns": due_wall_ns}
        self._say(line | {"late": late} if self._each else line)

    def _say(self, line: dict[str, Any]) -> None:
        os.write(self._out, json.dumps(line).encode() + b"\n")


def main() -> None:
    out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    watch = Watch(out, int(sys.argv[2]), int(sys.argv[3]), each="--each" in sys.argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; who started us ends us
    signal.signal(signal.SIGTERM, watch.stop)
    watch.run()


if __name__ == "__main__":
    main()
