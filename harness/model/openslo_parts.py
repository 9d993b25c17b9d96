"""The parts of a steady phase that an SLO speaks of: its time slices, or the windows that slide over it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.core.duration import format_duration, parse_duration
from harness.core.errors import Location, UsageError
from harness.model.openslo_goal import Goal
from harness.model.openslo_objective import Objective, Slices
from harness.model.openslo_slo import ServiceLevel
from harness.model.promql import WINDOW
from harness.model.source import Path_

WINDOW_ANNOTATION = "slo-harness/window"  # on the SLO: it must hold in every window of this length, for example 10s
_ANNOTATION: Path_ = ("metadata", "annotations", WINDOW_ANNOTATION)


def read_slices(level: ServiceLevel, goal: Goal, operator: str) -> Slices | None:
    """The time slices of an objective, None with budgetingMethod Occurrences; operator: by which its indicator is
    compared where it is raw. Raises UsageError window-missing, located."""
    if level.method == "Occurrences":
        return None
    _check_windowed(goal, "each slice is asked over its own length")
    length = (goal.slice_s or 0) * 1_000_000_000
    if level.method == "RatioTimeslices":
        if goal.indicator.kind == "threshold":
            cause = "RatioTimeslices averages the success ratios of slices, and a thresholdMetric has none"
            remedy = "Write budgetingMethod: Timeslices with a timeSliceTarget, or a ratioMetric."
            raise level.document.error(("spec", "budgetingMethod"), "bad-value", cause, remedy)
        return Slices(length)
    target = goal.slice_target or 0.0
    if goal.indicator.kind == "threshold":
        moments = not WINDOW.search(goal.indicator.queries["value"].text)
        return Slices(length, goal.operator or "", goal.value or 0.0, target if moments else None)
    return Slices(length, operator, round(1 - target, 12) if operator == "<=" else target)


def read_sliding(level: ServiceLevel) -> int | None:
    """The length of the windows in which `level` must hold, in nanoseconds; None: in the whole of the steady phase.

    Raises UsageError, located: bad-value, window-missing.
    """
    text = level.parsed.metadata.annotations.get(WINDOW_ANNOTATION)
    if text is None:
        return None
    remedy = "Write for example 10s or 1m30s."
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise level.document.error(_ANNOTATION, "bad-value", str(error), remedy) from None
    if length < 1_000_000:
        raise level.document.error(_ANNOTATION, "bad-value", f"{text!r} is shorter than a millisecond", remedy)
    if level.method != "Occurrences":
        cause = f"{level.method} has slices of its own, so that there is nothing to slide"
        raise level.document.error(_ANNOTATION, "bad-value", cause, "Remove it, or timeSliceWindow.", on="key")
    for goal in level.goals:
        _check_windowed(goal, f"{WINDOW_ANNOTATION} asks it over {text} again and again", moments=False)
    return length


def part_location(level: ServiceLevel, goal: Goal) -> Location | None:
    """Where the length of the parts is written; None where there are none."""
    if level.method != "Occurrences":
        return level.document.locate((*goal.path, "timeSliceWindow"))
    return level.document.locate(_ANNOTATION) if WINDOW_ANNOTATION in level.parsed.metadata.annotations else None


def check_fits(objectives: Iterable[Objective], steady_ns: int, profile: str) -> None:
    """Raises UsageError window-too-long, located, for parts that are longer than the steady phase."""
    for objective in objectives:
        length = objective.part_ns
        if length is not None and length > steady_ns:
            what = "timeSliceWindow" if objective.slices else WINDOW_ANNOTATION
            raise UsageError(
                "window-too-long",
                f"{what} is {format_duration(length)}, longer than the steady phase of profile {profile}: "
                f"{format_duration(steady_ns)}",
                "Write a shorter one, or lengthen load.duration of this profile.",
                location=objective.part_location,
            )


def _check_windowed(goal: Goal, why: str, *, moments: bool = True) -> None:
    """moments: a thresholdMetric that does not look back may be judged at each moment."""
    indicator = goal.indicator
    for role, query in indicator.queries.items():
        counts = indicator.counter and query.counter is not None
        looked_at = moments and indicator.kind == "threshold" and not query.ranged
        if not (counts or looked_at or WINDOW.search(query.text)):
            cause = f"{why}, and the {role} query has no $window to fill in"
            remedy = "Write $window where the range stands, as in max_over_time(x[$window]); or a counter itself."
            raise indicator.document.error(indicator.query_path(role), "window-missing", cause, remedy)
