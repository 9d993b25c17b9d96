"""The two clocks: wall time to compare with servers, monotonic time to measure."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def wall_ns() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


def mono_ns() -> int:
    """Nanoseconds on CLOCK_MONOTONIC: the same in every process of this machine."""
    return time.monotonic_ns()


def stamp(ns: int) -> str:
    """UTC, second precision, fit for a file name: `20261123T120501Z`."""
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y%m%dT%H%M%SZ")
