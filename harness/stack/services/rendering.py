"""What the recipes of configured servers share: durations divided by the time scale, YAML written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.core.duration import parse_duration


def scaled(section: Mapping[str, Any], names: Iterable[str], scale: float) -> dict[str, Any]:
    """A copy of `section`, the durations called `names` divided by `scale`. Raises ValueError: one is no duration."""
    return {**section, **{name: divided(str(section[name]), scale) for name in names if name in section}}


def divided(duration: str, scale: float) -> str:
    """A duration in Prometheus' notation divided by `scale`, to the millisecond; 0 stays 0, others are 1 ms or more."""
    nanoseconds = parse_duration(duration)
    return f"{max(1, round(nanoseconds / 1e6 / scale))}ms" if nanoseconds else "0s"


def dump_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as YAML."""
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(dict(value), file)
