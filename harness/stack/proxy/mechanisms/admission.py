"""Connections that may not be: reset, of those that are open and of new ones; and a limit on how many are open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from harness.stack.proxy.mechanisms.base import Mechanism, flag, number

MOST = 1000


class Reset(Mechanism):
    """open: reset those that are open when the fault begins; new: those that come while it lasts. At least one."""

    on_flow: ClassVar[bool] = False

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.open = flag(parameters, "open", True)
        self.new = flag(parameters, "new", True)
        if not (self.open or self.new):
            raise ValueError("neither open nor new connections: that resets nothing")

    def admits(self, others: int) -> bool:
        return not self.new

    def resets_open(self) -> bool:
        return self.open


class ConnectionLimit(Mechanism):
    """limit: connections that may be open at once; one more is reset. Those open when it begins stay."""

    on_flow: ClassVar[bool] = False

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.limit = int(number(parameters, "limit", 0, MOST))

    def admits(self, others: int) -> bool:
        return others < self.limit
