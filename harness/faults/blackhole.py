"""Blackhole: data and ends vanish, and connections stay open."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.faults.link_fault import DirectedParameters, LinkFault
from harness.faults.probe import Probe
from harness.faults.toxiproxy import Toxic


class Blackhole(LinkFault):
    """Connections that lost something by it are reset when it ends: their streams have a hole."""

    name = "blackhole"
    takes = DirectedParameters
    evidence: ClassVar[tuple[str, ...]] = ("swallowed", "held")

    def settings(self) -> dict[str, Any]:
        return {}

    def toxic(self) -> Toxic:
        return Toxic("timeout", {"timeout": 0})

    def _confirm(self, probe: Probe) -> str:
        with probe.connect() as client:
            client.sendall(b"?")
            if not probe.meets("swallowed", client):
                raise self._without("an echo came back")
        return "a byte was swallowed, and no echo came"
