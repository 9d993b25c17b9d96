"""Spans of a run, taken from the sink's file."""

from __future__ import annotations

from pathlib import Path

import orjson


def copy_spans(source: Path, destination: Path, start_ns: int, end_ns: int) -> int:
    """Copy the spans that start in [start_ns, end_ns], wall clock, as they stand; returns how many.

    A last line that is still being written is left out. A missing source is an empty one: the sink makes its file when
    it starts. Raises OSError when the destination cannot be written.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    copied = 0
    with destination.open("wb") as kept:
        if not source.exists():
            return 0
        with source.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n") and start_ns <= orjson.loads(line)["start_ns"] <= end_ns:
                    kept.write(line)
                    copied += 1
    return copied
