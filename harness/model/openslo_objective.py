"""One promise of an SLO, resolved: what a run collects and judges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from harness.core.errors import Location
from harness.model.promql import PromQL, parse_promql

_PLAIN = ("id", "slo", "kind", "operator", "target", "unit", "counter", "service", "description", "window")


@dataclass(frozen=True, slots=True)
class Slices:
    """The time slices of an objective.

    length_ns: of each; operator, value: by which a slice is good, "" and None where the mean of their ratios is
    promised (RatioTimeslices); share: of the moments in a slice at which that must hold, None where a slice has one
    value.
    """

    length_ns: int
    operator: str = ""
    value: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise of one SLO.

    id: `objectives/<slo>/<displayName or index>`; kind: threshold | ratio
    queries: role -> query; roles are `value`, or `good` | `bad` and `total`
    operator, target: what is compared; a ratio's target is a share between 0 and 1, its unit `%`
    counter: the ratio's queries are counters; window: the SLO's own timeWindow, for the reader only
    slices: judged by time slices: target is the share of good ones, or the mean of their ratios
    sliding_ns: it must hold in every window of this length; None: over the whole steady phase
    location, part_location: where it, and the length of its slices or windows, was written; not part of as_dict
    """

    id: str
    slo: str
    kind: Literal["threshold", "ratio"]
    queries: Mapping[str, PromQL]
    operator: str
    target: float
    unit: str = ""
    counter: bool = False
    service: str = ""
    description: str = ""
    window: str = ""
    slices: Slices | None = None
    sliding_ns: int | None = None
    location: Location | None = field(default=None, compare=False)
    part_location: Location | None = field(default=None, compare=False)

    @property
    def part_ns(self) -> int | None:
        """The length of the slices or windows that it is judged by; None: the whole steady phase."""
        return self.slices.length_ns if self.slices else self.sliding_ns

    @property
    def by_moments(self) -> bool:
        """Whether a slice is good by the share of its moments, and not by one value."""
        return self.slices is not None and self.slices.share is not None

    @property
    def slug(self) -> str:
        """The id as a file name."""
        name = re.sub(r"[^A-Za-z0-9_-]+", ".", self.id.removeprefix("objectives/"))
        return name.strip(".")[:120] or "objective"

    @property
    def evidence_path(self) -> str:
        """Where the evidence is kept, relative to the run directory."""
        return f"evidence/metrics/{self.slug}.json"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which objective_from_dict makes it again."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            **plain,
            "queries": {role: query.text for role, query in self.queries.items()},
            "slices": asdict(self.slices) if self.slices else None,
            "sliding_ns": self.sliding_ns,
        }


def objective_from_dict(described: Mapping[str, Any]) -> Objective:
    """The objective that as_dict described, in this version or in one that knew neither slices nor windows."""
    queries = {role: parse_promql(text) for role, text in described["queries"].items()}
    slices = Slices(**described["slices"]) if described.get("slices") else None
    plain = {name: described[name] for name in _PLAIN}
    return Objective(queries=queries, slices=slices, sliding_ns=described.get("sliding_ns"), **plain)
