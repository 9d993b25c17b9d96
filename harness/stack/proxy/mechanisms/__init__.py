"""The faults that a link can have, by the names that the control channel knows; one mechanism a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.stack.proxy.mechanisms.admission import ConnectionLimit, Reset
from harness.stack.proxy.mechanisms.bandwidth import Bandwidth
from harness.stack.proxy.mechanisms.base import Mechanism
from harness.stack.proxy.mechanisms.blackhole import Blackhole
from harness.stack.proxy.mechanisms.corrupt import Corrupt
from harness.stack.proxy.mechanisms.ends import HalfOpen, SlowClose
from harness.stack.proxy.mechanisms.latency import Latency

MECHANISMS: Mapping[str, Callable[[Mapping[str, Any]], Mechanism]] = {
    "latency": Latency,
    "bandwidth": Bandwidth,
    "reset": Reset,
    "blackhole": Blackhole,
    "slow-close": SlowClose,
    "half-open": HalfOpen,
    "corrupt": Corrupt,
    "connection-limit": ConnectionLimit,
}
