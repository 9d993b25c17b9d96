"""What a finding about an objective says."""

from __future__ import annotations

import math

from harness.model.openslo_objective import Objective
from harness.model.threshold import holds
from harness.slo.statistics.confidence import CONFIDENCE
from harness.slo.statistics.shares import Interval


def sentence(objective: Objective, observed: float, detail: str, interval: Interval | None = None) -> str:
    """What was observed, what was promised, and by how much it was missed."""
    unit, target = objective.unit, objective.target
    direction = "over" if objective.operator in ("<", "<=") else "under"
    distance = abs(observed - target)
    if distance == 0:
        by = "exactly at the limit"
    elif unit == "%":
        by = f"{direction} by {distance * 100:.3g} percentage points"
    elif target:
        by = f"{direction} by {distance / abs(target) * 100:.3g} %"
    else:
        by = f"{direction} by {write(distance, unit)}"
    seen = write(observed, unit) + (f" ({detail})" if detail else "")
    if interval is not None:
        low, high = (write(end, unit) for end in interval)
        seen += f", {CONFIDENCE * 100:.0f} % interval {low} to {high}"
    if holds(observed, objective.operator, target):
        return f"observed {seen}, target {objective.operator} {write(target, unit)}"
    return f"observed {seen}, target {objective.operator} {write(target, unit)}, {by}"


def write(value: float, unit: str) -> str:
    """A value as a person reads it."""
    return f"{value * 100:.6g} %" if unit == "%" else f"{value:.4g} {unit}".rstrip()


def encode(value: float) -> float | str:
    """A value as the evidence holds it: what JSON cannot hold is text."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
