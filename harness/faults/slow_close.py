"""Slow close: ends are passed on late, data is not."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from harness.faults.link_fault import DirectedParameters, LinkFault
from harness.faults.parameters import DurationText, main
from harness.faults.probe import Probe
from harness.faults.toxiproxy import Toxic, whole
from harness.faults.units import seconds_of
from harness.stack.links import Links

LONG = 2.0  # seconds; a longer delay is not waited for


class SlowCloseParameters(DirectedParameters):
    delay: DurationText = main(description="how much later ends arrive")


class SlowClose(LinkFault):
    """delay: how much later a FIN or RST arrives than it was sent."""

    name = "slow-close"
    takes = SlowCloseParameters
    evidence: ClassVar[tuple[str, ...]] = ("held",)

    def __init__(self, links: Links, link: str, delay: str, **more: Any) -> None:
        super().__init__(links, link, **more)
        self._delay = seconds_of("delay", delay)

    def settings(self) -> dict[str, Any]:
        return {"delay": self._delay}

    def toxic(self) -> Toxic:
        return Toxic("slow_close", {"delay": whole("delay", self._delay, 1e-3, "ms")})

    def _confirm(self, probe: Probe) -> str:
        wait = min(self._delay * self.ways, LONG)
        with probe.connect() as client:
            client.shutdown(socket.SHUT_WR)  # the echo closes in turn
            client.settimeout(wait * 0.9)
            try:
                client.recv(1)
            except TimeoutError:
                if probe.counters()["held"]:
                    return f"the end of a connection did not come within {wait * 0.9 * 1e3:.0f} ms"
        raise self._without(f"the end of a connection was passed on within {wait * 0.9 * 1e3:.0f} ms")
