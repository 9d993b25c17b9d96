"""The constants of burn_rates.toml, scaled to the window of an SLO.

The factors stay and the windows are scaled, so that an alert always means the same share of the budget, and a burn rate
of 1 is always the one that uses the budget up exactly.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from harness.model.openslo_duration import shorthand_seconds


@dataclass(frozen=True, slots=True)
class BurnRate:
    """One pair of windows: alert when the burn rate over both is above `factor`. Windows in seconds; budget: the share
    of it that is gone when the long window is full."""

    kind: Literal["page", "ticket"]
    factor: float
    long_s: int
    short_s: int
    budget: float


def burn_rates(period_s: int) -> tuple[BurnRate, ...]:
    """The pairs for an SLO over `period_s` seconds, the fastest first."""
    table = _table()
    scale = period_s / shorthand_seconds(table["period"])
    return tuple(
        BurnRate(
            row["kind"],
            float(row["burn_rate"]),
            round(shorthand_seconds(row["long"]) * scale),
            round(shorthand_seconds(row["short"]) * scale),
            row["budget"],
        )
        for row in table["alert"]
    )


def severity(kind: str) -> str:
    """The label of an alert for `page` and `ticket`; any other word stays what its author wrote."""
    return str(_table()["severity"].get(kind, kind))


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
