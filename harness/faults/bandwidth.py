"""Bandwidth: all connections of the link share so many bytes a second."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from harness.core.errors import UsageError
from harness.faults.link_fault import DirectedParameters, LinkFault
from harness.faults.parameters import main
from harness.faults.probe import PATIENCE, Probe, exchange
from harness.faults.toxiproxy import Toxic, whole
from harness.stack.links import Links

MOST = 4 << 20  # bytes that a probe sends
SECONDS = 0.1  # how long a probe takes at that rate
CREDIT = 0.01  # seconds of sending that the line gives at once


class BandwidthParameters(DirectedParameters):
    rate: float = main(ge=1, description="bytes a second, in each direction that is chosen")


class Bandwidth(LinkFault):
    """rate: bytes a second, in each direction that is chosen."""

    name = "bandwidth"
    takes = BandwidthParameters
    evidence: ClassVar[tuple[str, ...]] = ("throttled",)

    def __init__(self, links: Links, link: str, rate: float, **more: Any) -> None:
        super().__init__(links, link, **more)
        if rate < 1:
            raise UsageError("fault-parameter", f"rate is {rate} bytes/s", "Write 1 at least; to stop all, blackhole.")
        self._rate = rate

    def settings(self) -> dict[str, Any]:
        return {"rate": self._rate}

    def toxic(self) -> Toxic:
        return Toxic("bandwidth", {"rate": whole("rate", self._rate, 1000, "KB/s")})  # of each connection, there

    def _confirm(self, probe: Probe) -> str:
        data = bytes(min(MOST, max(1, int(self._rate * SECONDS))))
        with probe.connect() as client:
            client.settimeout(PATIENCE + 20 * len(data) / self._rate)  # what the link carries besides takes its share
            began = time.monotonic()
            got = exchange(client, data)
            took = time.monotonic() - began
        least = len(data) / self._rate - CREDIT
        if got != data or took < least or not probe.counters()["throttled"]:
            raise self._without(f"{len(got)} bytes took {took * 1e3:.1f} ms, and at least {least * 1e3:.1f} ms are due")
        return f"an echo of {len(data)} bytes took {took * 1e3:.1f} ms"
