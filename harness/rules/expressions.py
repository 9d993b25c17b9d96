"""PromQL for the error ratio of an SLO over any window: the share of its budget's events, or slices, that were bad."""

from __future__ import annotations

from harness.core.errors import UsageError
from harness.model.openslo_goal import Goal
from harness.model.openslo_indicator import Indicator
from harness.model.openslo_slo import ServiceLevel
from harness.model.promql import WINDOW, PromQL

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def promql_window(seconds: int) -> str:
    """Whole seconds as PromQL writes them: `1h`, `4m40s`, `2d19h12m`."""
    text = ""
    for unit, length in _UNITS:
        count, seconds = divmod(seconds, length)
        text += f"{count}{unit}" if count else ""
    return text


def number(value: float) -> str:
    """A number of ours in PromQL, without the dust that 1 - 0.999 leaves."""
    return f"{value:.12g}"


def quoted(text: str) -> str:
    """A label's value between quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def budget(goal: Goal) -> str:
    """The error budget of an objective: the share that may be bad."""
    return number(1 - goal.target)


def unmeasurable(level: ServiceLevel) -> str | None:
    """Why there is no share of bad events to speak of, or None."""
    if level.method == "Occurrences" and level.goals[0].indicator.kind == "threshold":
        return "a thresholdMetric has no events to count; budgetingMethod: Timeslices counts slices of time"
    return None


def check_measurable(level: ServiceLevel, goal: Goal) -> None:
    """Raises UsageError window-missing, located: the query of a ratio can be asked over one window only."""
    indicator = goal.indicator
    for role, query in indicator.queries.items():
        if _windowed(indicator, query) or (indicator.kind == "threshold" and not query.ranged):
            continue
        raise _window_missing(indicator, role)


def error_ratio(indicator: Indicator, seconds: int) -> str:
    """The share of bad events over the last `seconds`, as one series without labels; nothing where a query gives
    nothing, NaN where there was no event. The queries must be measurable."""
    asked = {role: _asked(indicator, query, seconds) for role, query in indicator.queries.items()}
    if indicator.kind == "raw":
        return f"max({asked['raw']})" if indicator.raw_type == "failure" else f"1 - min({asked['raw']})"
    if "bad" in asked:
        return f"{asked['bad']} / {asked['total']}"
    return f"1 - {asked['good']} / {asked['total']}"


def slice_error(level: ServiceLevel, goal: Goal) -> str:
    """What one slice of time counts, at its end: for Timeslices 1 when it was bad and 0 when it was good, for
    RatioTimeslices its error ratio. A slice without an event counts nothing."""
    seconds = goal.slice_s or 0
    indicator = goal.indicator
    if indicator.kind == "threshold":
        return _threshold_slice(goal, indicator.queries["value"], seconds)
    ratio = error_ratio(indicator, seconds)
    if level.method == "RatioTimeslices":
        return f"({ratio}) >= 0"  # NaN is not
    allowed = number(1 - (goal.slice_target or 0))
    return f"(({ratio}) >= 0) > bool {allowed}"


def _threshold_slice(goal: Goal, query: PromQL, seconds: int) -> str:
    compared = f"bool {number(goal.value or 0)}"
    if WINDOW.search(query.text):  # one value for the slice
        value = f"({_asked(goal.indicator, query, seconds)} > -Inf)"  # NaN is not
        return f"max({value} {_NEGATED[goal.operator or '<']} {compared})"
    share = f"avg_over_time(({query.enclosed} {goal.operator} {compared})[{promql_window(seconds)}:])"
    return f"max({share} < bool {number(goal.slice_target or 0)})"


def _windowed(indicator: Indicator, query: PromQL) -> bool:
    return bool(WINDOW.search(query.text)) or (indicator.counter and query.counter is not None)


def _asked(indicator: Indicator, query: PromQL, seconds: int) -> str:
    window = promql_window(seconds)
    if indicator.counter and query.counter is not None:
        return f"sum(rate({query.counter}[{window}]))"
    text = WINDOW.sub(window, query.enclosed)
    return f"sum{text}" if indicator.kind == "ratio" else text


def _window_missing(indicator: Indicator, role: str) -> UsageError:
    cause = f"the {role} query looks back over a range of its own or over none, and burn rates ask it over several"
    remedy = "Write $window where the range stands, as in sum(increase(x[$window])); or counter: true and a counter."
    error: UsageError = indicator.document.error(indicator.query_path(role), "window-missing", cause, remedy)
    return error
