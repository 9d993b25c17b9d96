"""Units of parameters."""

from __future__ import annotations

from harness.core.duration import parse_duration
from harness.core.errors import UsageError


def seconds_of(name: str, text: str) -> float:
    """A duration in seconds. Raises UsageError fault-parameter."""
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        raise UsageError("fault-parameter", f"{name}: {error}", "Write for example 200ms, 5s or 1m30s.") from error
