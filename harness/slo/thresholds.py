"""Judging thresholds on the client's own samples."""

from __future__ import annotations

import math

from harness.core.duration import format_duration
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.threshold import Threshold, holds, margin
from harness.results.samples import Samples, Series

CONFIDENCE = 0.99
_FITS = {
    "trend": ("count", "avg", "min", "max", "quantile"),
    "rate": ("count", "rate"),
    "counter": ("count", "rate"),
}


def samples_needed(quantile: float, confidence: float = CONFIDENCE) -> int:
    """How many samples, none of them a miss, decide a quantile at `confidence`.

    The chance that n independent samples all lie below the q-quantile is q^n, so n = ln(1 - confidence) / ln q
    (the exact binomial bound with no miss): 459 for p99, 4,603 for p99.9.
    """
    return math.ceil(math.log(1 - confidence) / math.log(quantile))


def judge_threshold(threshold: Threshold, samples: Samples, steady_seconds: float) -> Finding:
    """The finding of one threshold over the steady phase. Never passes without samples, nor on NaN."""
    series = samples.select(threshold.metric, threshold.tags)
    if series.count == 0:
        return _finding(threshold, series, Outcome.NO_DATA, reason=_nothing(threshold, samples), slug="no-samples")
    if threshold.aggregation not in _FITS[series.kind]:
        allowed = ", ".join(_FITS[series.kind]).replace("quantile", "med, p(N)")
        reason = f"{threshold.metric} is a {series.kind}: it has {allowed}, not {threshold.aggregation}"
        return _finding(threshold, series, Outcome.ERROR, reason=reason, slug="aggregation-mismatch")
    if threshold.aggregation == "quantile" and threshold.quantile is not None:
        tail = max(threshold.quantile, 1 - threshold.quantile)
        if series.count < (needed := samples_needed(tail)):
            reason = f"{series.count} samples; {threshold.condition_text} needs {needed} to be decided at 99 %"
            return _finding(threshold, series, Outcome.INCONCLUSIVE, reason=reason, slug="too-few-samples")
    observed = _aggregate(threshold, series, steady_seconds)
    if holds(observed, threshold.operator, threshold.value):
        return _finding(threshold, series, Outcome.PASS, observed)
    by = margin(observed, threshold.operator, threshold.value)
    beside = f", {abs(by):.0%} outside" if by is not None else ""
    reason = f"observed {show(observed, threshold.unit)}, promised {threshold.condition_text}{beside}"
    return _finding(threshold, series, Outcome.FAIL, observed, reason=reason, slug="threshold-missed")


def show(value: float, unit: str) -> str:
    """A value as a person writes it: `12.3ms`, `0.1 %`, `0.973`."""
    if unit == "s":
        return format_duration(value * 1e9)
    if unit == "%":
        return f"{value * 100:.3g} %"
    return f"{value:.4g}{unit}"


def _aggregate(threshold: Threshold, series: Series, steady_seconds: float) -> float:
    if threshold.aggregation == "count":
        return float(series.count)
    if series.kind == "rate":
        return series.true / series.total
    if series.kind == "counter":
        return series.count / steady_seconds
    histogram = series.histogram
    if threshold.aggregation == "quantile":
        assert threshold.quantile is not None
        raw = float(histogram.quantile(threshold.quantile))
    elif threshold.aggregation == "avg":
        raw = histogram.sum / histogram.count
    else:
        raw = float(histogram.min if threshold.aggregation == "min" else histogram.max)
    return raw / 1e9 if series.unit == "ns" else raw / series.scale


def _nothing(threshold: Threshold, samples: Samples) -> str:
    known = ", ".join(samples.names()) or "nothing"
    return f"no sample of {threshold.selector_text} in the steady phase; the client recorded {known}"


def _finding(
    threshold: Threshold,
    series: Series,
    outcome: Outcome,
    observed: float | None = None,
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
        reason=reason,
        slug=slug,
        evidence={"load": f"{threshold.metric} samples tagged {dict(threshold.tags)}"}
        if threshold.tags
        else {"load": ""},
    )
