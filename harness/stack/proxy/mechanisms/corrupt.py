"""Bytes arrive changed: each with a small chance, and where does not depend on how the stream is cut into pieces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.stack.proxy.mechanisms.base import Flow, Mechanism, number

LEAST = 1e-6


class Corrupt(Mechanism):
    """rate: share of bytes that are changed to another value."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.rate = number(parameters, "rate", LEAST, 1)

    def _gap(self, flow: Flow) -> int:
        """How many bytes stay as they are before the next that does not: geometric."""
        return 0 if self.rate == 1 else int(math.log(1 - flow.rng.random()) / math.log1p(-self.rate))

    def alter(self, data: bytes, flow: Flow) -> bytes:
        if flow.offset < 0:
            flow.offset = self._gap(flow)
        if flow.offset >= len(data):
            flow.offset -= len(data)
            return data
        changed = bytearray(data)
        while flow.offset < len(data):
            changed[flow.offset] ^= flow.rng.randint(1, 255)
            flow.counters.corrupted += 1
            flow.offset += 1 + self._gap(flow)
        flow.offset -= len(data)
        return bytes(changed)
