"""Nothing arrives any more: data and ends are swallowed, and connections stay open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from harness.stack.proxy.mechanisms.base import Flow, Mechanism


class Blackhole(Mechanism):
    """No parameters. A connection that lost something has a hole in its stream, and is reset when the fault ends."""

    hurts: ClassVar[bool] = True

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        del parameters

    def alter(self, data: bytes, flow: Flow) -> bytes:
        flow.counters.swallowed += len(data)
        return b""

    def passes_end(self, flow: Flow) -> bool:
        flow.counters.held += 1
        return False
