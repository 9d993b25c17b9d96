"""Notifications of a run, taken from the webhook sink's file."""

from __future__ import annotations

from pathlib import Path

from harness.telemetry.line_file import copy_lines


def copy_notifications(source: Path, destination: Path, start_ns: int, end_ns: int) -> int:
    """Copy the notifications received in [start_ns, end_ns], wall clock; returns how many. See copy_lines."""
    return copy_lines(source, destination, "received_ns", start_ns, end_ns)
