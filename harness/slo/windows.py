"""A threshold that must hold in every window of the steady phase: a breakdown of ten seconds cannot hide in the average
of a whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.core.outcome import Outcome
from harness.model.phases import Phase
from harness.model.threshold import Threshold, holds
from harness.results.series import Series
from harness.slo.estimates import Estimate, estimate
from harness.slo.statistics.confidence import TAIL
from harness.slo.statistics.decision import decide
from harness.slo.statistics.shares import Interval

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """start: seconds after the begin of the steady phase; what its samples tell, and how many there are."""

    start: float
    samples: int
    found: Estimate

    def interval(self, tail: float) -> Interval:
        """What has no sampling law is a fact: an interval of one point."""
        if self.found.interval_at is None:
            return self.found.observed, self.found.observed
        return self.found.interval_at(tail=tail)


@dataclass(frozen=True, slots=True)
class Judged:
    """outcome: over all windows; worst: the window that it rests on, or the first without a sample if that is why there
    is no data; interval: of that window."""

    outcome: Outcome
    worst: Window
    interval: Interval


def windows(threshold: Threshold, series: Series, steady: Phase) -> list[Window]:
    """All windows of threshold.window_seconds within the steady phase, each a second later than the one before. What
    the phase has beyond whole seconds lies in its first and last window, so that nothing is left out.

    In a window every sample counts by itself. What is asked is how the system was in these very seconds: that they are
    alike, as in an outage, is what a window is there to find, and no reason to believe them less.
    """
    assert threshold.window_seconds is not None
    length = threshold.window_seconds
    first, last = steady.start_ns // SECOND, (steady.end_ns - 1) // SECOND
    found = []
    for start in range(first, max(first, last - length + 1) + 1):
        part = series.between(start, start + length)
        told = estimate(threshold, part, length, independent=True) if part.count else Estimate(float("nan"))
        found.append(Window(start - first, part.count, told))
    return found


def judge_windows(threshold: Threshold, all_of_them: list[Window], needed: int) -> Judged:
    """The outcome over all windows; needed: samples in each, or the window does not pass.

    It passes where every window does: the chance that a window which breaks the promise lets it pass is that of this
    one window (an intersection-union test, R. L. Berger, Technometrics 24 (1982) 295), however many there are. It
    fails where one window does at TAIL / number of windows (Bonferroni), since any of them may fail by chance.
    """
    return decide_windows(all_of_them, threshold.operator, threshold.value, lambda window: window.samples >= needed)


def decide_windows(all_of_them: list[Window], operator: str, target: float, enough: Callable[[Window], bool]) -> Judged:
    """As judge_windows says, for windows from any source."""
    strict = TAIL / len(all_of_them)
    outside = [one for one in all_of_them if one.samples and not holds(one.found.observed, operator, target)]
    broken = [one for one in outside if _decided(one, operator, target, strict) is Outcome.FAIL]
    if broken:
        worst = _worst(broken, operator, target)
        return Judged(Outcome.FAIL, worst, worst.interval(strict))
    if empty := next((window for window in all_of_them if not window.samples), None):
        return Judged(Outcome.NO_DATA, empty, (float("nan"), float("nan")))
    open_ = [one for one in all_of_them if not enough(one)]
    open_ = open_ or [one for one in all_of_them if _decided(one, operator, target, TAIL) is not Outcome.PASS]
    worst = _worst(open_ or all_of_them, operator, target)
    return Judged(Outcome.INCONCLUSIVE if open_ else Outcome.PASS, worst, worst.interval(TAIL))


def _decided(window: Window, operator: str, target: float, tail: float) -> Outcome:
    if operator in ("==", "!="):
        return Outcome.PASS if holds(window.found.observed, operator, target) else Outcome.FAIL
    return decide(window.interval(tail), operator, target)


def _worst(of: Iterable[Window], operator: str, target: float) -> Window:
    """The one furthest from holding, the first of equals."""
    if operator in ("<", "<="):
        return max(of, key=lambda one: one.found.observed)
    if operator in (">", ">="):
        return min(of, key=lambda one: one.found.observed)
    return max(of, key=lambda one: (not holds(one.found.observed, operator, target), abs(one.found.observed - target)))
