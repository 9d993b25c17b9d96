"""A finding: what one objective came to, with the numbers a reader needs to believe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.core.outcome import Outcome, worst

VERDICT_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One judged promise.

    id: stable within a run, e.g. `thresholds/latency{name:search}/p(99)<80ms`
    source: client | prometheus | counts | generator | fault | stack | machine
    observed, target: in `unit`; None where there is none
    margin: how far inside the target, as a share of it (negative: outside); None when not numeric
    samples: how many observations stand behind `observed`
    interval: confidence interval of `observed`, or None where none is computed
    reason: one sentence, for anything but pass always; slug: of the error page, if one applies
    evidence: file in the run directory -> what to look at there
    """

    id: str
    source: str
    outcome: Outcome
    observed: float | None = None
    operator: str = ""
    target: float | None = None
    unit: str = ""
    margin: float | None = None
    samples: int = 0
    interval: tuple[float, float] | None = None
    reason: str = ""
    slug: str = ""
    query: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings of a run and the worst outcome among them.

    allowed_unvalidated: whoever ran it said by name that `not-validated` is acceptable; it counts as a pass then
    runtime, isolation: what brought the services up and what held their processes together; '' if none came up
    unavailable: services of the stack that this machine could not run
    """

    name: str
    findings: tuple[Finding, ...]
    allowed_unvalidated: bool = False
    runtime: str = ""
    isolation: str = ""
    unavailable: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        return worst(finding.outcome for finding in self.findings)

    @property
    def accepted(self) -> bool:
        """Whether the run may count as a success."""
        allowed = self.allowed_unvalidated and self.outcome is Outcome.NOT_VALIDATED
        return allowed or self.outcome is Outcome.PASS

    def as_dict(self) -> dict[str, Any]:
        """What verdict.json holds: a pure function of the evidence, nothing of this machine or moment."""
        return {
            "schema": VERDICT_SCHEMA,
            "name": self.name,
            "outcome": self.outcome,
            "allowed_unvalidated": self.allowed_unvalidated,
            "runtime": self.runtime,
            "isolation": self.isolation,
            "unavailable": list(self.unavailable),
            "findings": [finding.as_dict() for finding in self.findings],
        }
