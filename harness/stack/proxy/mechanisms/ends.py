"""Ends that are not passed on in time: slow close after a delay, half-open not before the fault ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.stack.proxy.mechanisms.base import Flow, Kind, Mechanism, number


class SlowClose(Mechanism):
    """delay: seconds by which FIN and RST are late; data is not."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.seconds = number(parameters, "delay", 1e-3, 3600)

    def delay(self, kind: Kind, flow: Flow) -> float:
        if kind == "data":
            return 0.0
        flow.counters.held += 1
        return self.seconds


class HalfOpen(SlowClose):
    """No parameters. What is sent to an end that is gone vanishes; the FIN or RST comes when the fault ends."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        del parameters
        self.seconds = math.inf
