"""What happens to faults, in a line each."""

from __future__ import annotations

from collections.abc import Mapping

from harness.model.events import FaultEvent


def fault_line(event: FaultEvent) -> str:
    """What a FaultEvent tells, in one line."""
    what = f"{event.fault} on {', '.join(one.partition(' ')[2] or one for one in event.touches)}"
    if event.edge == "begin":
        return f"{what} is in force: {event.how}"
    counted = counters_text(event.counters)
    return f"{what} is undone: {event.how}" + (f" ({counted})" if counted else "")


def counters_text(counters: Mapping[str, int]) -> str:
    """Those that are not 0."""
    return ", ".join(f"{name} {count}" for name, count in counters.items() if count)
