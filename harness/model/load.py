"""What a load worker is told to do, and when: the plan and its timetable. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from harness.model.timetable import Constant, Poisson, Ramp, Replay, Stage, Timetable, levels

RATED = ("constant-arrival-rate", "poisson")  # executors with one rate
OPEN = (*RATED, "ramping-arrival-rate", "replay")  # arrivals come whatever the system does
CLOSED = ("constant-users", "ramping-users")  # a user goes on when it has been answered
STAGED = ("ramping-arrival-rate", "ramping-users")
EXECUTORS = ("constant-arrival-rate", "ramping-arrival-rate", "poisson", "replay", *CLOSED)
LEAST_USERS, MOST_USERS = 50, 1000
LEAST_QUEUE, QUEUE_SECONDS = 1000, 10
PHASES = WARMUP, STEADY, DRAIN = "warmup", "steady", "drain"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """One run's load. Times are nanoseconds; rate is arrivals a second over all workers; users over all workers too.

    rate: of constant-arrival-rate and poisson, else 0; start, stages: of the ramping executors, in arrivals a second or
    users; file, speed: of replay; users: of constant-users how many there are, of open executors how many stand ready.
    warmup_ns: the first part of the timetable; duration_ns: the rest of it.

    host: base URL of the target, or "" when it is not known before `LoadEngine.start`; env: what the workers find in
    their environment beside their own; seed: of poisson arrivals, and of the workers' `random`; timeout_ns: of a whole
    reply, where the scenario does not say otherwise; queue: how many arrivals may wait for a free user in all, by
    default those of ten seconds; rebalance: the other workers send what one that dies had still to send.
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
    start: float = 0.0
    stages: tuple[Stage, ...] = ()
    file: str = ""
    speed: float = 1.0
    rebalance: bool = False

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise ValueError(f"executor {self.executor!r} is not one of {', '.join(EXECUTORS)}")
        if self.executor in RATED and not (self.rate > 0 and math.isfinite(self.rate)):
            raise ValueError(f"rate must be above 0, got {self.rate}")
        if self.warmup_ns < 0 or self.duration_ns <= 0 or self.timeout_ns <= 0:
            raise ValueError("warm-up must be 0 or more, duration and timeout above 0")
        if self.workers < 1 or (self.users is not None and self.users < 1):
            raise ValueError("at least one worker and one user are needed")
        if self.rebalance and self.closed:
            raise ValueError("rebalance is for open executors: users of a closed one have no timetable")
        if self.queue is not None and self.queue < 0:
            raise ValueError(f"queue must be 0 or more, got {self.queue}")
        if self.executor in STAGED:
            every = [self.start, *(stage.target for stage in self.stages)]
            if not all(0 <= one < math.inf for one in every) or not max(every) > 0:
                raise ValueError(f"start and targets of stages must be 0 or more, and not all 0: {every}")
            if self.length_ns > sum(stage.duration_ns for stage in self.stages):
                raise ValueError("warm-up and duration must lie within the stages")
        if self.executor == "constant-users" and self.users is None:
            raise ValueError("the users of constant-users must be given")
        if self.executor == "replay" and not (self.file and 0 < self.speed < math.inf):
            raise ValueError("a replay must have a file and a speed above 0")

    @property
    def closed(self) -> bool:
        """Whether a user's next task waits for the end of the one before, so that no arrivals are scheduled."""
        return self.executor in CLOSED

    @property
    def length_ns(self) -> int:
        """From the origin to the end of the steady phase."""
        return self.warmup_ns + self.duration_ns

    @property
    def arrivals(self) -> int:
        """How many arrivals the whole timetable has: those due before the end of the steady phase. 0 if closed."""
        return 0 if self.closed else self._timetable().count

    def arrivals_in(self, begin_ns: int, end_ns: int) -> int:
        """How many arrivals are due in [begin_ns, end_ns) after the origin. 0 if closed."""
        if self.closed:
            return 0
        whole, length = self._timetable(), self.length_ns
        return whole.before(min(end_ns, length)) - whole.before(min(begin_ns, length))

    def timetable(self, worker: int) -> Iterator[int]:
        """The offsets, ascending, that worker number `worker` (from 0) sends at: every `workers`-th arrival."""
        return iter(()) if self.closed else self._timetable().offsets(worker, self.workers)

    def share(self, worker: int) -> int:
        """How many arrivals are worker number `worker`'s."""
        return len(range(worker, self.arrivals, self.workers))

    def levels(self, worker: int) -> list[tuple[int, int]]:
        """Of a closed executor: [(offset, how many users of worker number `worker` there are from then on)]."""
        whole = [(0, self.users or 0)] if self.executor == "constant-users" else levels(self.start, self.stages)
        return [(offset, len(range(worker, level, self.workers))) for offset, level in whole]

    def users_of(self, worker: int) -> int:
        """How many users stand ready in worker number `worker`: by default enough for replies of two seconds. Of a
        closed executor: the most that there are at a time."""
        if self.closed:
            return max(level for _, level in self.levels(worker))
        total = self.users or min(MOST_USERS, max(LEAST_USERS, math.ceil(self.peak * 2)))
        return max(1, len(range(worker, total, self.workers)))

    @property
    def peak(self) -> float:
        """The most arrivals a second that are to be expected; of replayed ones, in a second of the timetable."""
        if self.executor in RATED:
            return self.rate
        if self.executor == "replay":
            whole = self._timetable()
            assert isinstance(whole, Replay)
            return whole.peak
        return max(self.start, *(stage.target for stage in self.stages))

    @property
    def queue_limit(self) -> int:
        """How many arrivals may wait for a free user in one worker; those beyond are dropped, and counted."""
        if self.queue is not None:
            return math.ceil(self.queue / self.workers)
        return max(LEAST_QUEUE, math.ceil(self.peak * QUEUE_SECONDS / self.workers))

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
        return {**asdict(self), "stages": [list(stage) for stage in self.stages]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> LoadPlan:
        return cls(**{**stored, "stages": tuple(Stage(*one) for one in stored.get("stages", ()))})

    def _timetable(self) -> Timetable:
        return _made(
            self.executor, self.rate, self.start, self.stages, self.seed, self.file, self.speed, self.length_ns
        )


@lru_cache(maxsize=4)
def _made(
    executor: str, rate: float, start: float, stages: tuple[Stage, ...], seed: int, file: str, speed: float, length: int
) -> Timetable:
    if executor == "poisson":
        return Poisson(rate, seed, length)
    if executor == "replay":
        return Replay(file, speed, length)
    return Ramp(start, stages, length) if stages else Constant(rate, length)
