"""Judging thresholds on the client's own samples."""

from __future__ import annotations

import math

from harness.core.duration import format_duration
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.phases import Phase
from harness.model.threshold import Threshold, holds, margin
from harness.results.samples import Samples
from harness.results.series import Series
from harness.slo.demand import FITS
from harness.slo.estimates import Estimate, estimate
from harness.slo.statistics.confidence import CONFIDENCE, FLOOR, samples_needed
from harness.slo.statistics.decision import decide, times_to_decide
from harness.slo.statistics.shares import Interval
from harness.slo.windows import judge_windows, windows


def judge_threshold(threshold: Threshold, samples: Samples, steady: Phase) -> Finding:
    """The finding of one threshold over the steady phase, or over each window of it. Never passes without samples, nor
    on NaN.

    It passes when the whole confidence interval of the observed value holds, fails when none of it does, and is
    inconclusive between. What has no sampling law is judged as it stands.
    """
    series = samples.select(threshold.metric, threshold.tags)
    if series.count == 0:
        return _finding(threshold, series, Outcome.NO_DATA, reason=_nothing(threshold, samples), slug="no-samples")
    if threshold.aggregation not in FITS[series.kind]:
        allowed = ", ".join(FITS[series.kind]).replace("quantile", "med, p(N)")
        reason = f"{threshold.metric} is a {series.kind}: it has {allowed}, not {threshold.aggregation}"
        return _finding(threshold, series, Outcome.ERROR, reason=reason, slug="aggregation-mismatch")
    if threshold.window_seconds is not None:
        return _over_windows(threshold, series, steady)
    found = estimate(threshold, series, steady.seconds)
    if found.interval_at is None:
        interval = None
        passed = holds(found.observed, threshold.operator, threshold.value)
        outcome = Outcome.PASS if passed else Outcome.FAIL
    else:
        interval = found.interval_at(1.0)
        outcome = decide(interval, threshold.operator, threshold.value)
    if outcome is Outcome.FAIL:
        by = margin(found.observed, threshold.operator, threshold.value)
        reason = _seen(threshold, found.observed, interval) + (f", {abs(by):.0%} outside" if by is not None else "")
        return _finding(threshold, series, outcome, found.observed, interval, reason=reason, slug="threshold-missed")
    if series.count < (needed := _needed(threshold)):
        reason = f"{series.count} samples; {threshold.condition_text} needs {needed} to be decided at {FLOOR:.0%}"
        outcome = Outcome.INCONCLUSIVE
        return _finding(threshold, series, outcome, found.observed, interval, reason=reason, slug="too-few-samples")
    if outcome is Outcome.INCONCLUSIVE:
        seen = _seen(threshold, found.observed, interval)
        reason = f"{seen}: {_undecided(threshold, series, found, steady.seconds)}"
        return _finding(threshold, series, outcome, found.observed, interval, reason=reason, slug="not-decided")
    return _finding(threshold, series, outcome, found.observed, interval)


def _over_windows(threshold: Threshold, series: Series, steady: Phase) -> Finding:
    """The finding that rests on the worst window; `observed` is that window's."""
    needed = _needed(threshold)
    every = windows(threshold, series, steady)
    judged = judge_windows(threshold, every, needed)
    worst, length = judged.worst, threshold.window_seconds
    where = f"in the window from {worst.start} s to {worst.start + (length or 0)} s of the steady phase"
    if judged.outcome is Outcome.NO_DATA:
        return _finding(threshold, series, judged.outcome, reason=f"no sample {where}", slug="no-samples")
    observed = worst.found.observed
    interval = judged.interval if worst.found.interval_at is not None else None
    reason, slug = "", ""
    if judged.outcome is Outcome.FAIL:
        by = margin(observed, threshold.operator, threshold.value)
        reason = f"{where}: {_seen(threshold, observed, interval)}" + (f", {abs(by):.0%} outside" if by else "")
        slug = "threshold-missed"
    elif judged.outcome is Outcome.INCONCLUSIVE:
        few = worst.samples < needed
        what = f"a window needs {needed} to be decided at {FLOOR:.0%}" if few else "they do not decide"
        reason = f"{where}: {_seen(threshold, observed, interval)}; {worst.samples} samples, {what}"
        slug = "too-few-samples" if few else "not-decided"
    return _finding(threshold, series, judged.outcome, observed, interval, reason=reason, slug=slug)


def _needed(threshold: Threshold) -> int:
    """How many independent samples a quantile wants before it may pass; 0 for what is none."""
    if threshold.quantile is None:
        return 0
    return samples_needed(max(threshold.quantile, 1 - threshold.quantile))


def _undecided(threshold: Threshold, series: Series, found: Estimate, seconds: float) -> str:
    """What it would take."""
    if found.blind:
        return (
            "all samples lie in one second, so nothing shows how far they depend on each other; "
            "let the steady phase last several seconds"
        )
    assert found.interval_at is not None
    times = times_to_decide(found.interval_at, threshold.operator, threshold.value)
    if times is None:
        return "what is observed lies at the limit, so that no number of samples decides"
    wanted = math.ceil(series.count * times)
    length = format_duration(seconds * times * 1e9)
    return f"{series.count} samples do not decide, about {wanted} would ({length} of steady phase at this rate)"


def _seen(threshold: Threshold, observed: float, interval: Interval | None) -> str:
    seen = show(observed, threshold.unit)
    if interval is not None:
        seen += f" ({CONFIDENCE * 100:.0f} % interval {show_interval(interval, threshold.unit)})"
    return f"observed {seen}, promised {threshold.condition_text}"


def show_interval(interval: Interval, unit: str) -> str:
    """Both ends, or the one that there is: `12.3ms to 15ms`, `at least 12.3ms`."""
    low, high = interval
    if math.isinf(high):
        return f"at least {show(low, unit)}"
    return f"{show(low, unit)} to {show(high, unit)}"


def show(value: float, unit: str) -> str:
    """A value as a person writes it: `12.3ms`, `0.1 %`, `0.973`."""
    if unit == "s":
        return format_duration(value * 1e9)
    if unit == "%":
        return f"{value * 100:.3g} %"
    return f"{value:.4g}{unit}"


def _nothing(threshold: Threshold, samples: Samples) -> str:
    known = ", ".join(samples.names()) or "nothing"
    return f"no sample of {threshold.selector_text} in the steady phase; the client recorded {known}"


def _finding(
    threshold: Threshold,
    series: Series,
    outcome: Outcome,
    observed: float | None = None,
    interval: Interval | None = None,
    *,
    reason: str = "",
    slug: str = "",
) -> Finding:
    return Finding(
        id=threshold.id,
        source="client",
        outcome=outcome,
        observed=observed,
        operator=threshold.operator,
        target=threshold.value,
        unit=threshold.unit,
        margin=None if observed is None else margin(observed, threshold.operator, threshold.value),
        samples=series.count,
        interval=interval if interval is not None and all(map(math.isfinite, interval)) else None,
        reason=reason,
        slug=slug,
        evidence={"load": f"{threshold.metric} samples tagged {dict(threshold.tags)}"}
        if threshold.tags
        else {"load": ""},
    )
