"""Faults: one thing broken on purpose, for a while, by real means, and undone whatever happens. One fault a file."""

from harness.faults.bandwidth import Bandwidth
from harness.faults.blackhole import Blackhole
from harness.faults.connection_limit import ConnectionLimit
from harness.faults.corrupt import Corrupt
from harness.faults.fault import Fault
from harness.faults.half_open import HalfOpen
from harness.faults.latency import Latency
from harness.faults.link_fault import LinkFault
from harness.faults.reset import Reset
from harness.faults.slow_close import SlowClose

__all__ = [
    "Bandwidth",
    "Blackhole",
    "ConnectionLimit",
    "Corrupt",
    "Fault",
    "HalfOpen",
    "Latency",
    "LinkFault",
    "Reset",
    "SlowClose",
]
