"""The one typed stream. Every process appends its own file; readers merge them; reports are handlers of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from harness.model.finding import Finding

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events; `kind` is its name on disk."""

    kind: ClassVar[str] = "event"

    def payload(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunEvent(Event):
    """A run began or ended. state: begin | end | interrupted."""

    kind: ClassVar[str] = "run"
    name: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StackEvent(Event):
    """A service changed state: installing | starting | healthy | ready | failed | died | stopped.

    seconds: since the stack began to start (healthy, ready) or 0; detail: version, reason or last log lines.
    """

    kind: ClassVar[str] = "stack"
    service: str
    state: str
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PhaseEvent(Event):
    """A phase begins or ends. phase: setup | warmup | steady | drain | collect; edge: begin | end."""

    kind: ClassVar[str] = "phase"
    phase: str
    edge: str
    seconds: float = 0.0  # planned length at begin, measured length at end


@dataclass(frozen=True, slots=True)
class LoadTick(Event):
    """Once a second while load runs, summed over workers. p99_ms of the last second, None without samples."""

    kind: ClassVar[str] = "load"
    phase: str
    elapsed: float
    remaining: float
    scheduled: int
    done: int
    errors: int
    in_flight: int
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class FaultEvent(Event):
    """A fault begins or has ended. edge: begin | end; touches: what it breaks, `link NAME` or `service NAME`.

    confirmed_wall_ns, confirmed_mono_ns: when it was seen to be in force, or to be undone; how: by what. counters: what
    it did to others than our own probes; empty at begin.
    """

    kind: ClassVar[str] = "fault"
    fault: str
    touches: tuple[str, ...]
    edge: str
    confirmed_wall_ns: int
    confirmed_mono_ns: int
    how: str
    parameters: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FindingEvent(Event):
    """One objective was judged."""

    kind: ClassVar[str] = "finding"
    finding: Finding


@dataclass(frozen=True, slots=True)
class VerdictEvent(Event):
    """The run was judged; `path` is its directory."""

    kind: ClassVar[str] = "verdict"
    name: str
    outcome: str
    path: str


@dataclass(frozen=True, slots=True)
class LogEvent(Event):
    """Anything worth telling that has no type of its own. level: info | warning | error."""

    kind: ClassVar[str] = "log"
    level: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)
