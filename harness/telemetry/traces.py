"""Spans of a run, taken from the sink's file."""

from __future__ import annotations

from pathlib import Path

from harness.telemetry.line_file import copy_lines


def copy_spans(source: Path, destination: Path, start_ns: int, end_ns: int) -> int:
    """Copy the spans that start in [start_ns, end_ns], wall clock; returns how many. See copy_lines."""
    return copy_lines(source, destination, "start_ns", start_ns, end_ns)
