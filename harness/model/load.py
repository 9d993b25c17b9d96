"""What a load worker is told to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """One run's load. Times are nanoseconds; rate is arrivals a second over all workers."""

    scenario: str
    rate: float
    warmup_ns: int
    duration_ns: int
    host: str
    executor: str = "constant-arrival-rate"
    users: int | None = None
    workers: int = 1
    env: dict[str, str] = field(default_factory=dict)
    seed: int = 1
    timeout_ns: int = 10_000_000_000

    @property
    def arrivals(self) -> int:
        """How many arrivals the whole timetable has: those due before warm-up and steady phase are over."""
        return round(self.rate * (self.warmup_ns + self.duration_ns) / 1e9)

    def offset_ns(self, arrival: int) -> int:
        """When arrival number `arrival` (from 0) is due, after the origin."""
        return round(arrival * 1e9 / self.rate)

    def phase_at(self, offset_ns: int) -> str:
        return "warmup" if offset_ns < self.warmup_ns else "steady"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
