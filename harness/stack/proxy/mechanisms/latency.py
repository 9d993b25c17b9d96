"""Everything arrives later, in order: each piece of data and each end after a delay of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.stack.proxy.mechanisms.base import Flow, Kind, Mechanism, number

LONGEST = 3600.0


class Latency(Mechanism):
    """delay, jitter: seconds; drawn evenly from delay - jitter to delay + jitter. What would overtake waits."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.seconds = number(parameters, "delay", 0, LONGEST)
        self.jitter = number(parameters, "jitter", 0, self.seconds, 0)
        if self.seconds == 0:
            raise ValueError("delay is 0; a latency of nothing is no fault")

    def delay(self, kind: Kind, flow: Flow) -> float:
        flow.counters.delayed += 1
        return self.seconds + (self.jitter * flow.rng.uniform(-1, 1) if self.jitter else 0.0)
