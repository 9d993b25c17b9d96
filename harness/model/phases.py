"""The phases of a run's load on one time axis: which of them is judged is declared, never found out from the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.model.load import DRAIN, STEADY, WARMUP

SCHEMA = 1
PHASES_EVIDENCE = "evidence/phases.json"


@dataclass(frozen=True, slots=True)
class Phase:
    """name: warmup | steady | drain; start_ns, end_ns: after the origin of the timetable; judged: whether thresholds
    and objectives speak of it."""

    name: str
    start_ns: int
    end_ns: int

    @property
    def judged(self) -> bool:
        return self.name == STEADY

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Timeline:
    """The phases in order, and when the origin was on the wall clock."""

    origin_wall_ns: int
    phases: tuple[Phase, ...]

    @classmethod
    def planned(cls, origin_wall_ns: int, warmup_ns: int, duration_ns: int) -> Timeline:
        """Warm-up and steady phase as declared; without a warm-up the first is left out."""
        warmup = (Phase(WARMUP, 0, warmup_ns),) if warmup_ns else ()
        return cls(origin_wall_ns, (*warmup, Phase(STEADY, warmup_ns, warmup_ns + duration_ns)))

    @property
    def steady(self) -> Phase:
        return next(phase for phase in self.phases if phase.name == STEADY)

    @property
    def steady_wall_ns(self) -> tuple[int, int]:
        """Begin and end of the steady phase on the wall clock."""
        return self.origin_wall_ns + self.steady.start_ns, self.origin_wall_ns + self.steady.end_ns

    def ended(self, steady_end_ns: int, drain_end_ns: int) -> Timeline:
        """As it came to be: the steady phase up to `steady_end_ns`, then what was under way; ns after the origin."""
        before = [phase for phase in self.phases if phase.name == WARMUP]
        steady = Phase(STEADY, self.steady.start_ns, steady_end_ns)
        return Timeline(
            self.origin_wall_ns, (*before, steady, Phase(DRAIN, steady_end_ns, max(steady_end_ns, drain_end_ns)))
        )

    def as_dict(self) -> dict[str, Any]:
        """What evidence/phases.json holds."""
        phases = [{**asdict(phase), "judged": phase.judged} for phase in self.phases]
        return {"schema": SCHEMA, "origin_wall_ns": self.origin_wall_ns, "phases": phases}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Timeline:
        phases = (Phase(one["name"], one["start_ns"], one["end_ns"]) for one in stored["phases"])
        return cls(stored["origin_wall_ns"], tuple(phases))
