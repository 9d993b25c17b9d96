"""What the machine did by itself during a run: time that its hypervisor took away, and how late a sleeper woke up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MACHINE_EVIDENCE = "evidence/machine.json"
SCHEMA = 1
MAX_STEAL = 0.05  # of all processors' time; above, latencies are not to be trusted


@dataclass(frozen=True, slots=True)
class Reading:
    """About once a second. total, steal: jiffies of all processors since boot, None where the kernel does not say;
    wakes: how often the sleeper woke since the reading before; late_ns: the longest that one of these came late, and
    due_wall_ns: when it was due."""

    wall_ns: int
    total: int | None
    steal: int | None
    wakes: int
    late_ns: int
    due_wall_ns: int


@dataclass(frozen=True, slots=True)
class Stall:
    """The sleeper was to wake at `start_wall_ns` and did so `length_ns` later."""

    start_wall_ns: int
    length_ns: int


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """period_ns: how long the sleeper sleeps; scheduling: fifo (it goes before all ordinary processes, so what keeps it
    waiting is the kernel or the hypervisor) or other; ended: why the readings end before the run did, or ''."""

    period_ns: int
    scheduling: str
    ended: str
    readings: tuple[Reading, ...]

    def covers(self, end_wall_ns: int) -> bool:
        """Whether it was watched up to there."""
        return bool(self.readings) and self.readings[-1].wall_ns >= end_wall_ns

    def steal(self, start_wall_ns: int, end_wall_ns: int) -> float | None:
        """The share of all processors' time that was stolen, between the readings around this stretch; None where it
        cannot be known."""
        before = [one for one in self.readings if one.wall_ns <= start_wall_ns][-1:] or self.readings[:1]
        after = [one for one in self.readings if one.wall_ns >= end_wall_ns][:1] or self.readings[-1:]
        return stolen(before[0], after[0]) if before and after else None

    def stalls(self, start_wall_ns: int, end_wall_ns: int, at_least_ns: int = 0) -> list[Stall]:
        """The longest of each second, of those that touch this stretch and are so long."""
        return [
            Stall(one.due_wall_ns, one.late_ns)
            for one in self.readings
            if one.late_ns >= at_least_ns
            and one.wakes
            and one.due_wall_ns < end_wall_ns
            and one.due_wall_ns + one.late_ns > start_wall_ns
        ]

    def as_dict(self) -> dict[str, Any]:
        """What evidence/machine.json holds; a reading is a row, in the order of `columns`."""
        rows = [[getattr(one, name) for name in Reading.__slots__] for one in self.readings]
        return {
            "schema": SCHEMA,
            "period_ns": self.period_ns,
            "scheduling": self.scheduling,
            "ended": self.ended,
            "columns": list(Reading.__slots__),
            "readings": rows,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> MachineRecord:
        readings = tuple(Reading(**dict(zip(stored["columns"], row, strict=True))) for row in stored["readings"])
        return cls(stored["period_ns"], stored["scheduling"], stored["ended"], readings)


def stolen(before: Reading, after: Reading) -> float | None:
    """The share between two readings; None where the kernel does not say, or its counters stand still."""
    if None in (before.total, before.steal, after.total, after.steal):
        return None
    assert before.total is not None and after.total is not None and before.steal is not None and after.steal is not None
    total = after.total - before.total
    return max(0, after.steal - before.steal) / total if total > 0 else None


def fold(lines: Sequence[Mapping[str, Any]], ended: str) -> MachineRecord:
    """From what harness.stack.machine.watch has said; ended: how it came to its end, if not as it was told to."""
    first = lines[0] if lines else {}
    readings = tuple(Reading(**{name: line[name] for name in Reading.__slots__}) for line in lines if "wakes" in line)
    asked = any("end" in line for line in lines)
    return MachineRecord(first.get("period_ns", 0), first.get("scheduling", ""), "" if asked else ended, readings)
