"""What a load worker is told to do, and when: the plan and its timetable. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Any

EXECUTORS = ("constant-arrival-rate",)
LEAST_USERS, MOST_USERS = 50, 1000
LEAST_QUEUE, QUEUE_SECONDS = 1000, 10
PHASES = WARMUP, STEADY, DRAIN = "warmup", "steady", "drain"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """One run's load. Times are nanoseconds; rate is arrivals a second over all workers; users over all workers too.

    host: base URL of the target, or "" when it is not known before `LoadEngine.start`; env: what the workers find in
    their environment beside their own; timeout_ns: of a whole reply, where the scenario does not say otherwise; queue:
    how many arrivals may wait for a free user in all, by default those of ten seconds.
    """

    scenario: str
    rate: float
    warmup_ns: int
    duration_ns: int
    host: str = ""
    executor: str = "constant-arrival-rate"
    users: int | None = None
    workers: int = 1
    env: dict[str, str] = field(default_factory=dict)
    seed: int = 1
    timeout_ns: int = 10_000_000_000
    queue: int | None = None

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise ValueError(f"executor {self.executor!r} is not one of {', '.join(EXECUTORS)}")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise ValueError(f"rate must be above 0, got {self.rate}")
        if self.warmup_ns < 0 or self.duration_ns <= 0 or self.timeout_ns <= 0:
            raise ValueError("warm-up must be 0 or more, duration and timeout above 0")
        if self.workers < 1 or (self.users is not None and self.users < 1):
            raise ValueError("at least one worker and one user are needed")
        if self.queue is not None and self.queue < 0:
            raise ValueError(f"queue must be 0 or more, got {self.queue}")

    @property
    def length_ns(self) -> int:
        """From the origin to the end of the steady phase."""
        return self.warmup_ns + self.duration_ns

    @property
    def arrivals(self) -> int:
        """How many arrivals the whole timetable has: those due before the end of the steady phase."""
        return math.ceil(Fraction(self.rate) * self.length_ns / 10**9)

    def offset_ns(self, arrival: int) -> int:
        """When arrival number `arrival` (from 0) is due, after the origin."""
        numerator, denominator = self.rate.as_integer_ratio()
        return arrival * 10**9 * denominator // numerator

    def timetable(self, worker: int) -> Iterator[int]:
        """The offsets, ascending, that worker number `worker` (from 0) sends at: every `workers`-th arrival."""
        return (self.offset_ns(number) for number in range(worker, self.arrivals, self.workers))

    def share(self, worker: int) -> int:
        """How many arrivals are worker number `worker`'s."""
        return len(range(worker, self.arrivals, self.workers))

    def users_of(self, worker: int) -> int:
        """How many users stand ready in worker number `worker`: by default enough for replies of two seconds."""
        total = self.users or min(MOST_USERS, max(LEAST_USERS, math.ceil(self.rate * 2)))
        return max(1, len(range(worker, total, self.workers)))

    @property
    def queue_limit(self) -> int:
        """How many arrivals may wait for a free user in one worker; those beyond are dropped, and counted."""
        if self.queue is not None:
            return math.ceil(self.queue / self.workers)
        return max(LEAST_QUEUE, math.ceil(self.rate * QUEUE_SECONDS / self.workers))

    def phase_at(self, offset_ns: int) -> str:
        """The phase of a sample by its scheduled time: warmup | steady | drain (what no arrival asked for)."""
        return WARMUP if offset_ns < self.warmup_ns else STEADY if offset_ns < self.length_ns else DRAIN

    @property
    def phase_edges_ns(self) -> tuple[int, int]:
        """Where one phase ends and the next begins, after the origin."""
        return self.warmup_ns, self.length_ns

    def cut(self, length_ns: int) -> LoadPlan:
        """The same, with its steady phase ended at `length_ns` after the origin. Raises ValueError in the warm-up."""
        return replace(self, duration_ns=length_ns - self.warmup_ns)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> LoadPlan:
        return cls(**stored)
