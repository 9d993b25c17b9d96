"""One link: its open connections, the faults that are in force on it, and who may connect."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from harness.stack.proxy.clock import Call, Clock
from harness.stack.proxy.counters import Counters, LinkCounters
from harness.stack.proxy.mechanisms.base import DIRECTIONS, Mechanism
from harness.stack.proxy.sides import Side


@dataclass(eq=False, slots=True)
class Connection:
    """A client's connection and, once dialled, the server's. probe: the only fault that applies to it, or ''."""

    link: Link
    client: Side
    probe: str = ""
    server: Side | None = None

    @property
    def sides(self) -> list[Side]:
        return [self.client] if self.server is None else [self.client, self.server]

    def lost(self) -> None:
        """One of its ends is gone."""
        if all(side.closed for side in self.sides):
            self.link.forget(self)

    def reset(self) -> None:
        """RST to both ends."""
        for side in self.sides:
            side.reset()

    def route(self) -> None:
        for side in self.sides:
            side.route()


@dataclass(eq=False)
class Active:
    """A fault on a link. harmed: connections that lost something by it; ended_by: client | time | disconnect, or ''."""

    id: str
    name: str
    link: Link
    directions: tuple[str, ...]
    mechanism: Mechanism
    seed: int
    in_force: bool = False
    began: float = 0.0
    ended_by: str = ""
    counters: Counters = field(default_factory=Counters)
    probes: Counters = field(default_factory=Counters)
    met: dict[Connection, int] = field(default_factory=dict)
    harmed: set[Connection] = field(default_factory=set)
    limit: Call | None = None  # what ends it by itself

    def counters_of(self, connection: Connection) -> Counters:
        """Probes of the harness are counted apart: they are no evidence that anybody else met the fault."""
        return self.probes if connection.probe else self.counters

    def meet(self, connection: Connection) -> int:
        """Count a connection that meets it; its number among those, from 0."""
        if connection not in self.met:
            counters = self.counters_of(connection)
            self.met[connection] = counters.connections
            counters.connections += 1
        return self.met[connection]

    def begin(self, seconds: float | None) -> None:
        """Put it in force, for `seconds` at most."""
        self.in_force, self.began = True, time.monotonic()
        self.link.faults.append(self)
        if seconds is not None:
            self.limit = self.link.clock.at(self.began + seconds, lambda: self.end("time"))
        for connection in self.link.subject_to(self):
            if self.mechanism.resets_open():
                self.counters_of(connection).reset += 1
                connection.reset()
            else:
                connection.route()

    def end(self, by: str) -> None:
        """Undo it: what it holds goes at once, and streams that it tore are reset. A second call does nothing."""
        if not self.in_force:
            return
        self.in_force, self.ended_by = False, by
        self.link.faults.remove(self)
        if self.limit is not None:
            self.limit.cancelled = True
        for connection in self.link.subject_to(self):
            if connection in self.harmed and self.mechanism.hurts:
                connection.reset()
            connection.route()
        self.met.clear()
        self.harmed.clear()


class Link:
    """dials: the tasks that connect to upstreams, of all links."""

    def __init__(self, name: str, to: int, clock: Clock, dials: set[asyncio.Task[None]]) -> None:
        self.name = name
        self.to = to
        self.clock = clock
        self.dials = dials
        self.echo = 0  # port of the server that answers probes
        self.faults: list[Active] = []
        self.counters = LinkCounters()
        self.expected: dict[int, str] = {}  # port that a probe will come from -> the fault that it is for
        self._connections: set[Connection] = set()

    def admit(self, client: Side, peername: Any) -> int | None:
        """The port to dial for a new connection, or None if it is to be reset."""
        probe = self.expected.pop(peername[1], "") if self.expected and peername else ""
        connection = client.connection = Connection(self, client, probe)
        for act in self.faults:
            if probe in ("", act.id):
                others = sum(one.probe == probe for one in self._connections)
                if not act.mechanism.admits(others):
                    act.counters_of(connection).refused += 1
                    return None
        self._connections.add(connection)
        if not probe:
            self.counters.accepted += 1
            self.counters.open += 1
        return self.echo if probe else self.to

    def forget(self, connection: Connection) -> None:
        """Both ends of a connection are gone."""
        if connection in self._connections:
            self._connections.remove(connection)
            self.counters.open -= not connection.probe
            for act in self.faults:
                act.met.pop(connection, None)
                act.harmed.discard(connection)

    def subject_to(self, act: Active) -> list[Connection]:
        """The open connections that a fault applies to."""
        return [one for one in self._connections if one.probe in ("", act.id)]

    def acting(self, connection: Connection, direction: str) -> list[Active]:
        """The faults that data of a connection has to go through, the first set first."""
        return [
            act
            for act in self.faults
            if act.mechanism.on_flow and direction in act.directions and connection.probe in ("", act.id)
        ]


def directions_of(word: str) -> tuple[str, ...]:
    """up, down or both. Raises ValueError."""
    if word not in (*DIRECTIONS, "both"):
        raise ValueError(f"direction is {word!r}; up (to the server), down (to the client) or both are wanted")
    return DIRECTIONS if word == "both" else (word,)
