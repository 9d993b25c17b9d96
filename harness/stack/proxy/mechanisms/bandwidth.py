"""A thin line: all connections of the link share so many bytes a second in each direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.stack.proxy.mechanisms.base import DIRECTIONS, Mechanism, number

PIECE_SECONDS = 0.01  # what is sent at once, so that connections take turns
CREDIT_SECONDS = 0.01  # what a late timer may catch up with


class Bandwidth(Mechanism):
    """rate: bytes a second."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.rate = number(parameters, "rate", 1, 1e11)
        self._free = dict.fromkeys(DIRECTIONS, 0.0)  # monotonic seconds at which the line has sent what it took

    def pace(self, size: int) -> int:
        return min(size, max(1, int(self.rate * PIECE_SECONDS)))

    def departure(self, size: int, now: float, direction: str) -> float:
        self._free[direction] = max(self._free[direction], now - CREDIT_SECONDS) + size / self.rate
        return self._free[direction]
