"""What a fault is inside the proxy: what it does to data, to ends and to new connections of one link."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from harness.stack.proxy.counters import Counters

Kind = Literal["data", "fin", "rst"]
DIRECTIONS = ("up", "down")  # from the client to the server, and back


@dataclass(eq=False, slots=True)
class Flow:
    """One direction of one connection, as one fault knows it. offset: bytes to the next corruption, or -1."""

    direction: str
    rng: random.Random
    counters: Counters
    offset: int = field(default=-1)


class Mechanism:
    """Base: a fault that does nothing. `parameters` are plain JSON values; the constructor raises ValueError."""

    on_flow: ClassVar[bool] = True  # whether bytes and ends have to go through a pipe because of it
    hurts: ClassVar[bool] = False  # whether a connection that met it cannot be used afterwards

    def alter(self, data: bytes, flow: Flow) -> bytes:
        """The data that goes on, counted; b'' for none."""
        return data

    def passes_end(self, flow: Flow) -> bool:
        """Whether a FIN or RST goes on at all."""
        return True

    def delay(self, kind: Kind, flow: Flow) -> float:
        """Seconds for which this is held; infinite: until the fault ends."""
        return 0.0

    def pace(self, size: int) -> int:
        """How many of `size` bytes to send at once."""
        return size

    def departure(self, size: int, now: float, direction: str) -> float:
        """The monotonic second at which `size` bytes may leave; called once for each piece."""
        return now

    def admits(self, others: int) -> bool:
        """Whether a new connection may be, with `others` open."""
        return True

    def resets_open(self) -> bool:
        """Whether the connections that are open when it begins are reset."""
        return False


def number(parameters: Mapping[str, Any], name: str, low: float, high: float, default: float | None = None) -> float:
    """A parameter between two bounds. Raises ValueError."""
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; a number from {low:g} to {high:g} is wanted")
    return float(value)


def flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    """A parameter that is true or false. Raises ValueError."""
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; true or false is wanted")
    return value
