"""What is left of an error budget, asked of a Prometheus: consumed, burn rates, time to exhaustion.

A ratio is asked over the whole window; time slices are averaged by a subquery that steps a slice at a time. How much of
the window the store has seen is asked apart, because a rate over a window that is mostly empty looks like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from harness.core.errors import UsageError
from harness.core.outcome import Outcome
from harness.model.burn_rates import burn_rates
from harness.model.openslo_goal import Goal
from harness.model.openslo_slo import ServiceLevel
from harness.rules.expressions import check_measurable, error_ratio, promql_window, slice_error, unmeasurable
from harness.telemetry.metrics import MetricsStore, QueryFailed

SEEN_AT_LEAST = 0.8  # of the window; the share of scrapes that a run wants too
_STEPS = 300  # into which a window is cut to see how much of it the store has
SHORTEST_S = 60


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of one objective at a moment.

    budget: the share that may be bad; consumed: of the budget, 1 is all of it, None where nothing is known;
    seen: share of the window so far that the store has series for; burns: (window in seconds, burn rate), NaN without
    an event and None without data; exhausted_s: seconds until nothing is left, infinite when it does not burn;
    reason: why the outcome is no pass.
    """

    slo: str
    objective: str
    window: str
    budget: float
    outcome: Outcome
    consumed: float | None = None
    seen: float | None = None
    burns: tuple[tuple[int, float | None], ...] = ()
    exhausted_s: float | None = None
    reason: str = ""


class _NoAnswer(Exception):
    def __init__(self, reason: str, outcome: Outcome = Outcome.NO_DATA) -> None:
        super().__init__(reason)
        self.outcome = outcome


class _NoEvent(_NoAnswer):
    """The series are there, and nothing happened."""


def read_budgets(store: MetricsStore, levels: Sequence[ServiceLevel], at: datetime) -> list[Budget]:
    """The budgets of `levels` at `at` (with a zone), in their order; those with no share of bad events are left out.

    Raises UsageError before the store is asked: not-built-yet, missing-field, window-missing, located, and
    no-burn-rates. What the store does not answer is an outcome: no-data, or error when it refuses the query.
    """
    asked = []
    for level in levels:
        level.refuse("budgets do not cover")
        if unmeasurable(level) is not None:
            continue
        if level.window is None:
            remedy = "Add timeWindow: [{duration: 30d, isRolling: true}]."
            cause = "a budget is spent over a time window, and the SLO states none"
            raise level.document.error(("spec",), "missing-field", cause, remedy, on="key")
        for goal in level.goals:
            check_measurable(level, goal)
            asked.append((level, goal))
    if not asked:
        cause = f"no SLO has a budget that could burn ({', '.join(level.name for level in levels)})"
        raise UsageError("no-burn-rates", cause, "Add a ratioMetric, or time slices.")
    return [_read(store, level, goal, at) for level, goal in asked]


def _read(store: MetricsStore, level: ServiceLevel, goal: Goal, at: datetime) -> Budget:
    assert level.window is not None
    allowed = round(1 - goal.target, 12)
    known = Budget(level.name, goal.name, str(level.window), allowed, Outcome.PASS)
    seen: float | None = None
    try:
        try:
            start, end = level.window.period(at)
        except ValueError as error:
            raise _NoAnswer(str(error)) from None
        passed = max(SHORTEST_S, round((min(at, end) - start) / timedelta(seconds=1)))
        at_ns = round(at.timestamp() * 1e9)
        seen = _seen(store, goal, passed, at_ns)
        errors = _errors(store, level, goal, passed, at_ns)
        lengths = _windows(level, goal, passed)
        asked = [_burn(store, level, goal, length, at_ns, allowed) for length in lengths]
    except _NoAnswer as error:
        return replace(known, outcome=error.outcome, seen=seen, reason=str(error))
    length = (end - start) / timedelta(seconds=1)
    consumed = errors / allowed * min(1.0, passed / length)
    burns = tuple((length, burn) for length, (burn, _) in zip(lengths, asked, strict=True))
    rate = next((burn for _, burn in burns if burn is not None and not math.isnan(burn)), errors / allowed)
    left = max(0.0, 1 - consumed)
    exhausted = 0.0 if left == 0 else left * length / rate if rate > 0 else math.inf
    outcome, reason = Outcome.PASS, ""
    if seen < SEEN_AT_LEAST:
        outcome = Outcome.INCONCLUSIVE
        reason = f"the store has seen {seen:.1%} of {promql_window(passed)}, {SEEN_AT_LEAST:.0%} are wanted"
    elif consumed >= 1:
        outcome, reason = Outcome.FAIL, f"the budget is exhausted: {consumed:.1%} of it are consumed"
    elif silent := next((why for burn, why in asked if burn is None), ""):  # whatever watched it stopped lately
        outcome, reason = Outcome.INCONCLUSIVE, silent
    return replace(
        known, outcome=outcome, consumed=consumed, seen=seen, burns=burns, exhausted_s=exhausted, reason=reason
    )


def _windows(level: ServiceLevel, goal: Goal, passed: int) -> list[int]:
    """The long windows of burn rates, shortest first: those with room for scrapes and slices that have passed."""
    assert level.window is not None
    lengths = sorted({pair.long_s for pair in burn_rates(level.window.seconds)})
    return [length for length in lengths if max(SHORTEST_S, goal.slice_s or 0) <= length <= passed]


def _burn(
    store: MetricsStore, level: ServiceLevel, goal: Goal, length: int, at_ns: int, allowed: float
) -> tuple[float | None, str]:
    """The burn rate over `length`, NaN without an event; or None, and why there are no data."""
    try:
        return _errors(store, level, goal, length, at_ns) / allowed, ""
    except _NoEvent:
        return math.nan, ""
    except _NoAnswer as error:
        if error.outcome is Outcome.NO_DATA:
            return None, str(error)
        raise


def _errors(store: MetricsStore, level: ServiceLevel, goal: Goal, seconds: int, at_ns: int) -> float:
    """The share of bad events or slices over the last `seconds`."""
    if goal.slice_s is None:
        query = error_ratio(goal.indicator, seconds)
    else:
        query = f"avg_over_time(({slice_error(level, goal)})[{promql_window(seconds)}:{promql_window(goal.slice_s)}])"
    value = _value(store, query, at_ns)
    over = f"over {promql_window(seconds)}"
    if value is None:
        absent = _absent(store, goal, seconds, at_ns)
        if goal.slice_s is not None and not absent:
            raise _NoEvent(f"0/0 {over}: no slice had an event to judge")
        what = f"no series {', '.join(absent)}" if absent else "the query gave no series"
        raise _NoAnswer(f"no data {over}: {what}")
    if math.isnan(value):
        raise _NoEvent(f"0/0 {over}: there was no event to judge")
    if not -1e-9 <= value <= 1 + 1e-9:
        raise _NoAnswer(
            f"the error ratio {over} is {value:.6g}: the queries do not count the same events", Outcome.ERROR
        )
    return min(1.0, max(0.0, value))


def _absent(store: MetricsStore, goal: Goal, seconds: int, at_ns: int) -> list[str]:
    """What the objective reads and the store has not had over the last `seconds`."""
    selectors = [selector for query in goal.indicator.queries.values() for selector in query.selectors]
    return [s for s in selectors if not _value(store, f"count(last_over_time({s}[{promql_window(seconds)}]))", at_ns)]


def _seen(store: MetricsStore, goal: Goal, seconds: int, at_ns: int) -> float:
    """The share of the last `seconds` in which every series that the objective reads was there, one moment in 300."""
    step = max(1, seconds // _STEPS)
    shares = []
    for query in goal.indicator.queries.values():
        for selector in query.selectors:
            text = f"count_over_time(group({selector})[{promql_window(seconds)}:{promql_window(step)}])"
            found = _value(store, text, at_ns) or 0.0
            shares.append(min(1.0, found / (seconds // step)))
    return min(shares, default=0.0)


def _value(store: MetricsStore, query: str, at_ns: int) -> float | None:
    answer = store.instant(query, at_ns)
    if isinstance(answer, QueryFailed):
        outcome = Outcome.ERROR if answer.kind == "bad-query" else Outcome.NO_DATA
        raise _NoAnswer(f"{answer.kind}: {answer.detail}", outcome)
    return answer.series[0].value if answer.series else None
