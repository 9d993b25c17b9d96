"""The `load:` of a validation: for each executor the keys that it takes, in k6's words, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from harness.core.duration import format_duration
from harness.model.arrival_file import read_arrivals
from harness.model.fault_entry import Duration
from harness.model.json_schema import RATE
from harness.model.load import LoadPlan
from harness.model.source import Path_
from harness.model.timetable import Stage

MOST_USERS, MOST_RATE, MOST_DRAWN = 10_000, 1_000_000, 50_000_000
_SECOND = 1_000_000_000


def _rate(value: Any) -> float:
    text = str(value).removesuffix("/s").strip()
    try:
        rate = float(text)
    except ValueError:
        raise ValueError(f"{value!r} is not a rate; write for example 120 or 120/s") from None
    if isinstance(value, bool) or not 0 < rate <= MOST_RATE:
        raise ValueError(f"{value!r} is not a rate between 0 and 1,000,000 a second")
    return rate


def _target(value: Any) -> float:
    """A rate or a number of users, and here 0 has a sense."""
    return 0.0 if value in (0, "0", "0/s") and not isinstance(value, bool) else _rate(value)


Rate = Annotated[float, BeforeValidator(_rate), WithJsonSchema(RATE)]
_NUMBER, _TEXT = RATE["anyOf"]
TARGET = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": MOST_RATE}, _TEXT],
    "description": "Arrivals a second, or users.",
}
Target = Annotated[float, BeforeValidator(_target), WithJsonSchema(TARGET)]
Users = Annotated[int, Field(gt=0, le=MOST_USERS)]
Workers = Annotated[int, Field(gt=0, le=64)]


@dataclass(frozen=True, slots=True)
class Load:
    """How arrivals are made, for whatever executor. Times are nanoseconds. duration: of the steady phase.

    Fields that an executor does not take have the value that means nothing: see LoadPlan for which takes which.
    """

    executor: str
    warmup: int
    duration: int
    workers: int
    timeout: int
    maxLateness: int
    rate: float = 0.0
    start: float = 0.0
    stages: tuple[Stage, ...] = ()
    file: str = ""
    speed: float = 1.0
    seed: int = 1
    users: int | None = None
    queue: int | None = None
    rebalance: bool = False

    def plan(self, scenario: str = "", **more: Any) -> LoadPlan:
        """What workers are told; more: fields of the plan that are no part of a validation."""
        return plan_of(self.as_dict(), scenario=scenario, **more)

    def as_dict(self) -> dict[str, Any]:
        """As it stands in plan.json."""
        return {**asdict(self), "stages": [list(stage) for stage in self.stages]}


def plan_of(load: Mapping[str, Any], scenario: str = "", **more: Any) -> LoadPlan:
    """The plan of a `load` as it stands in plan.json. Raises KeyError or ValueError where that is none."""
    own = ("executor", "rate", "start", "file", "speed", "seed", "users", "queue", "workers", "rebalance")
    given = {name: load[name] for name in own if name in load}
    times = {"warmup_ns": load["warmup"], "duration_ns": load["duration"]}
    if "timeout" in load:
        times["timeout_ns"] = load["timeout"]
    stages = tuple(Stage(*one) for one in load.get("stages", ()))
    return LoadPlan(**{"scenario": scenario, "rate": 0.0, **given, **times, "stages": stages, **more})


class Misfit(Exception):
    """What fits by itself, but not with the rest. key: of `load`, what is wrong about it."""

    def __init__(self, key: Path_, cause: str) -> None:
        super().__init__(cause)
        self.key, self.cause = key, cause


class _Written(BaseModel):
    """As the file is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warmup: Duration = Field(5_000_000_000, description="The first part of the load, of which no promise speaks.")
    workers: Workers = Field(1, description="Processes that make the load.")
    timeout: Annotated[Duration, Field(gt=0)] = Field(10_000_000_000, description="Of a whole reply.")
    maxLateness: Annotated[Duration, Field(gt=0)] = Field(
        5_000_000, description="What the generator's own lateness may be, at its 99th percentile."
    )

    def resolved(self) -> Load:
        """Raises Misfit, and UsageError of a file that it names."""
        return Load(**self._common(), duration=getattr(self, "duration"))  # noqa: B009 - most have one

    def _common(self) -> dict[str, Any]:
        return {name: value for name, value in self if name in Load.__slots__ and name not in ("duration", "stages")}


class _Open(_Written):
    users: Users | None = Field(None, description="How many stand ready; by default enough for replies of 2 s.")
    queue: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        None, description="How many arrivals may wait for a free user; by default those of 10 s."
    )
    rebalance: bool = Field(False, description="Whether the other workers do the work of one that died.")


class StageSpec(BaseModel):
    """In a straight line to `target` within `duration`; at once where that is 0s."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Target
    duration: Duration


Stages = Annotated[list[StageSpec], Field(min_length=1, max_length=100)]


def _staged(written: Any, start: float) -> dict[str, Any]:
    stages = tuple(Stage(one.target, one.duration) for one in written.stages)
    whole = sum(stage.duration_ns for stage in stages)
    if not max(start, *(stage.target for stage in stages)) > 0:
        raise Misfit(("stages",), "every target is 0: nothing would arrive")
    if whole <= written.warmup:
        given = ("warmup",) if "warmup" in written.model_fields_set else ("stages",)
        lengths = f"the stages last {format_duration(whole)}, the warm-up {format_duration(written.warmup)}"
        raise Misfit(given, f"{lengths}: nothing is left to judge")
    return {"start": start, "stages": stages, "duration": whole - written.warmup}


class ConstantArrivalRate(_Open):
    """Arrivals at equal distances, whatever the system does."""

    executor: Literal["constant-arrival-rate"]
    rate: Rate
    duration: Annotated[Duration, Field(gt=0)]


class Poisson(_Open):
    """Arrivals that know nothing of each other, as those of many independent people."""

    executor: Literal["poisson"]
    rate: Rate
    duration: Annotated[Duration, Field(gt=0)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(1, description="The same seed makes the same arrivals.")

    def resolved(self) -> Load:
        expected = self.rate * (self.warmup + self.duration) / _SECOND
        if expected > MOST_DRAWN:
            raise Misfit(("duration",), f"{expected:.3g} arrivals, of which each is drawn: at most {MOST_DRAWN:,}")
        return super().resolved()


class RampingArrivalRate(_Open):
    """A rate that changes in straight lines. The stages are the whole load, warm-up and all."""

    executor: Literal["ramping-arrival-rate"]
    startRate: Target = 0.0
    stages: Stages

    def resolved(self) -> Load:
        return Load(**{**self._common(), **_staged(self, self.startRate)})


class Replay(_Open):
    """Arrivals at the times that a file holds, in seconds, one a line."""

    executor: Literal["replay"]
    file: str
    speed: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = Field(
        1.0, description="How many times as fast as in the file."
    )
    duration: Annotated[Duration, Field(gt=0)] | None = Field(
        None, description="After the warm-up; by default to the end of the file."
    )

    def resolved(self) -> Load:
        times = read_arrivals(self.file, self.speed)
        last = int(times[-1])
        duration = self.duration or -(-(last + 1) // _SECOND) * _SECOND - self.warmup
        if duration <= 0 or not ((times >= self.warmup) & (times < self.warmup + duration)).any():
            told = (
                f"the last arrival is due at {format_duration(last)}, the warm-up lasts {format_duration(self.warmup)}"
            )
            raise Misfit(("file",), f"no arrival of the file falls into the steady phase: {told}")
        return Load(**{**self._common(), "duration": duration})


class ConstantUsers(_Written):
    """So many users, each of which goes on when it has been answered and has waited as its scenario says."""

    executor: Literal["constant-users"]
    users: Users
    duration: Annotated[Duration, Field(gt=0)]


class RampingUsers(_Written):
    """A number of users that changes in straight lines. The stages are the whole load, warm-up and all."""

    executor: Literal["ramping-users"]
    startUsers: Annotated[int, Field(ge=0, le=MOST_USERS)] = 0
    stages: Stages

    def resolved(self) -> Load:
        for at, stage in enumerate(self.stages):
            if stage.target != int(stage.target) or stage.target > MOST_USERS:
                raise Misfit(
                    ("stages", at, "target"), f"{stage.target:g} is no whole number of users up to {MOST_USERS}"
                )
        return Load(**{**self._common(), **_staged(self, float(self.startUsers))})


Written = Annotated[
    ConstantArrivalRate | RampingArrivalRate | Poisson | Replay | ConstantUsers | RampingUsers,
    Field(discriminator="executor"),
]


class LoadOverride(BaseModel):
    """What a profile changes of `load`: keys that its executor takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: Rate | None = None
    warmup: Duration | None = None
    duration: Annotated[Duration, Field(gt=0)] | None = None
    workers: Workers | None = None
    users: Users | None = None
    stages: Stages | None = None
    startRate: Target | None = None
    startUsers: Annotated[int, Field(ge=0, le=MOST_USERS)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    speed: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None

    def load_changes(self) -> dict[str, Any]:
        """What is given, by key."""
        return {name: value for name in LoadOverride.model_fields if (value := getattr(self, name)) is not None}
