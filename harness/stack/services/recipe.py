"""What a built-in service is: one declaration a file."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.model.stackfile import Spec


class Tool(Protocol):
    """A program on this machine and what must be added to its environment."""

    @property
    def path(self) -> Path: ...
    @property
    def env(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Context:
    """What a service is rendered from. directory: its own, it exists; store: where what it keeps goes, the same unless
    it has a disk of its own, which nobody outside of the stack can look into; ports: all of them by name; tool: finds
    programs, raises HarnessError missing-binary; scrape: Prometheus job -> address; peers: kind of built-in service ->
    address of the stack's one of that kind, where it has one; outside: the notes of stray paths elsewhere; scratch:
    beside the cache, gone with the stack; token: the file with what a sink that others can reach wants to see;
    asks_senders: whether that for spans is one."""

    name: str
    directory: Path
    store: Path
    stack_id: str
    isolation: str
    python: str
    ports: Mapping[str, int]
    scale: float
    config: Path | None
    scrape: Mapping[str, str]
    peers: Mapping[str, str]
    tool: Callable[[str], Tool]
    outside: Path
    scratch: Path
    token: Path | None = None
    asks_senders: bool = False

    def address(self, port: str) -> str:
        return f"127.0.0.1:{self.ports[port]}"


@dataclass(frozen=True)
class Command:
    """One process: `env` is added to the stack's base environment; `cwd` of None is the service's directory."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What to run: `prepare` one after the other, each to its end, then `main`."""

    main: Command
    prepare: tuple[Command, ...] = ()

    def after(self, commands: tuple[Command, ...]) -> Plan:
        """The same, with these commands before all."""
        return Plan(self.main, (*commands, *self.prepare))


@dataclass(frozen=True)
class Recipe:
    """A built-in service.

    ports: those that others may name come first, then its private ones; render: writes configuration below the
    service's directory and says what to run; probe: None while it is not ready, then the version that the server
    itself reports ('' if it reports none); `grace`: seconds between the stop signal and SIGKILL; check: raises
    HarnessError where this machine has its tools and cannot run it all the same; examine: raises UsageError for a
    configuration that cannot be used, and tells which other files it reads; longest_pause: seconds that it may be
    stopped and still go on where it was, None for as long as one likes.
    """

    tools: tuple[str, ...]  # as harness.stack.tools knows them
    ports: tuple[str, ...]
    render: Callable[[Context], Plan]
    probe: Callable[[Context], str | None]
    grace: float
    stop_signal: int = signal.SIGTERM
    metrics: tuple[str, str] | None = None  # port name and path
    check: Callable[[Callable[[str], Tool]], None] | None = None
    examine: Callable[[Path, Spec], Sequence[Path]] | None = None
    longest_pause: float | None = None
