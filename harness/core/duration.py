"""Durations as Prometheus and k6 write them: `200ms`, `5s`, `1m30s`, `2h`, `1d`."""

from __future__ import annotations

import re

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 7 * 86_400_000_000_000,
    "y": 365 * 86_400_000_000_000,
}
LONGEST_NS = 100 * _UNITS_NS["y"]  # far below what 64 bits hold
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w|y)")


def parse_duration(text: str) -> int:
    """`text` in nanoseconds. Raises ValueError for anything that is not a sum of number-unit pairs, or longer than a
    hundred years."""
    total, at = 0.0, 0
    while part := _PART.match(text, at):  # and not finditer, which tries every digit of a long number
        total += float(part[1]) * _UNITS_NS[part[2]]
        at = part.end()
    if at == 0 or at != len(text):
        raise ValueError(f"{text!r} is not a duration; write for example 200ms, 45s or 1m30s")
    if total > LONGEST_NS:
        raise ValueError(f"{text[:40]!r} is longer than a hundred years")
    return round(total)


def format_duration(nanoseconds: float) -> str:
    """Three significant digits in the largest unit that keeps the number at or above 1: `45s`, `12.3ms`."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    for unit in ("h", "m", "s", "ms", "us"):
        if nanoseconds >= _UNITS_NS[unit] * (2 if unit in "hm" else 1):
            return f"{nanoseconds / _UNITS_NS[unit]:.3g}{unit}"
    return f"{nanoseconds:.0f}ns"
