"""Latency: data and ends arrive later, in order."""

from __future__ import annotations

import socket
import time
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.faults.link_fault import DirectedParameters, LinkFault
from harness.faults.parameters import DurationText, main
from harness.faults.probe import Probe, exchange, stays_silent
from harness.faults.toxiproxy import Toxic, whole
from harness.faults.units import seconds_of
from harness.stack.links import Links

LONG = 2.0  # seconds; a longer delay is not waited for
TRIES = 40  # echoes under jitter, of which one takes the mean at least: each second one does


class LatencyParameters(DirectedParameters):
    delay: DurationText = main(description="how much later")
    jitter: DurationText = Field("0s", description="drawn evenly from delay - jitter to delay + jitter")
    direction: Literal["up", "down", "both"] = Field("down", description="up: to the server; down: to the client")


class Latency(LinkFault):
    """delay, jitter: durations (`200ms`); drawn evenly from delay - jitter to delay + jitter for each piece of data.

    By default answers alone are late (`down`), so that a request takes `delay` longer; with `both` it is twice that.
    """

    name = "latency"
    takes = LatencyParameters
    evidence: ClassVar[tuple[str, ...]] = ("delayed",)

    def __init__(
        self, links: Links, link: str, delay: str, *, jitter: str = "0s", direction: str = "down", **more: Any
    ):
        super().__init__(links, link, direction=direction, **more)
        self._delay, self._jitter = seconds_of("delay", delay), seconds_of("jitter", jitter)
        self._least = (self._delay - self._jitter) * self.ways

    def settings(self) -> dict[str, Any]:
        return {"delay": self._delay, "jitter": self._jitter}

    def toxic(self) -> Toxic:
        delay, jitter = (whole("delay", self._delay, 1e-3, "ms"), whole("jitter", self._jitter, 1e-3, "ms"))
        most = (self._delay + self._jitter) * self.ways
        return Toxic("latency", {"latency": delay, "jitter": jitter}, self._least, most)

    def _confirm(self, probe: Probe) -> str:
        with probe.connect() as client:
            if (self._delay + self._jitter) * self.ways > LONG:
                return self._confirm_long(probe, client)
            took, least = 0.0, self._least
            for _ in range(TRIES if self._jitter else 1):
                began = time.monotonic()
                exchange(client, b"?")
                took = time.monotonic() - began
                if took < least:
                    break
                if took >= self._delay * self.ways:
                    return f"an echo took {took * 1e3:.1f} ms"
            else:
                least = self._delay * self.ways
        raise self._without(f"an echo took {took * 1e3:.1f} ms, and at least {least * 1e3:.1f} ms are due")

    def _confirm_long(self, probe: Probe, client: socket.socket) -> str:
        """Wait a part of the delay alone."""
        wait = min(self._least, LONG / 4)
        client.sendall(b"?")
        if not probe.meets("delayed", client) or not stays_silent(client, wait):
            raise self._without(f"an echo came within {wait:.1f} s, and at least {self._least:.1f} s are due")
        return f"no echo came within {wait:.1f} s"

    def _is_clear(self, probe: Probe) -> bool:
        began = time.monotonic()
        return super()._is_clear(probe) and (self._least < 0.01 or time.monotonic() - began < self._least)
