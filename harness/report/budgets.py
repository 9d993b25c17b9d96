"""Error budgets as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.rules.budgets import Budget
from harness.rules.expressions import promql_window

_HOUR, _DAY = 3_600, 86_400


def print_budgets(budgets: Sequence[Budget], console: Console) -> None:
    """One row an objective, and below why an outcome is no pass."""
    table = Table(title="error budgets", title_justify="left")
    for name in ("objective", "outcome", "window", "budget", "consumed", "seen", "burn", "exhausted in"):
        table.add_column(name, overflow="fold")
    for one in budgets:
        burns = " ".join(f"{promql_window(length)}:{_rate(burn)}" for length, burn in one.burns)
        table.add_row(
            Text(f"{one.slo}/{one.objective}"),
            str(one.outcome),
            one.window,
            f"{100 * one.budget:.6g} %",
            _percent(one.consumed),
            _percent(one.seen),
            burns or "-",
            _length(one.exhausted_s),
        )
    console.print(table)
    for one in budgets:
        if one.reason:
            console.print(f"{one.outcome}: {one.slo}/{one.objective}: {one.reason}", markup=False, soft_wrap=True)


def _rate(burn: float | None) -> str:
    return "no-data" if burn is None else "no-events" if math.isnan(burn) else f"{burn:.3g}x"


def _percent(share: float | None) -> str:
    return "no data" if share is None else f"{100 * share:.4g} %"


def _length(seconds: float | None) -> str:
    if seconds is None:
        return "no data"
    if math.isinf(seconds):
        return "never"
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.3g} d"
    return f"{seconds / _HOUR:.3g} h"
