"""What judging the evidence of an objective comes to, before it is a finding."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.outcome import Outcome
from harness.slo.statistics.shares import Interval


@dataclass(frozen=True, slots=True)
class Judged:
    """samples: of the kind that stands behind `observed`; reason: "" for a pass; where: the part that `observed` is of,
    or ""."""

    outcome: Outcome
    observed: float
    interval: Interval | None = None
    samples: int = 0
    reason: str = ""
    where: str = ""
