"""One promise of an SLO, resolved: what a run collects and judges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.core.errors import Location
from harness.model.promql import PromQL, parse_promql

_PLAIN = ("id", "slo", "kind", "operator", "target", "unit", "counter", "service", "description", "window")


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise of one SLO.

    id: `objectives/<slo>/<displayName or index>`; kind: threshold | ratio
    queries: role -> query; roles are `value`, or `good` | `bad` and `total`
    operator, target: what is compared; a ratio's target is a share between 0 and 1, its unit `%`
    counter: the ratio's queries are counters; window: the SLO's own timeWindow, for the reader only
    location: where it was written; not part of as_dict
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
    location: Location | None = field(default=None, compare=False)

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
        return {**plain, "queries": {role: query.text for role, query in self.queries.items()}}


def objective_from_dict(described: Mapping[str, Any]) -> Objective:
    """The objective that as_dict described."""
    queries = {role: parse_promql(text) for role, text in described["queries"].items()}
    return Objective(queries=queries, **{name: described[name] for name in _PLAIN})
