"""Half-open: an end that closes or dies is not noticed by the other."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from harness.faults.link_fault import DirectedParameters, LinkFault
from harness.faults.probe import Probe


class HalfOpen(LinkFault):
    """FIN and RST are held back until it ends; what is sent meanwhile to an end that is gone vanishes.

    direction down: the client does not notice that the server is gone; up: the server does not notice the client's end.
    """

    name = "half-open"
    takes = DirectedParameters
    evidence: ClassVar[tuple[str, ...]] = ("held",)

    def settings(self) -> dict[str, Any]:
        return {}

    def _confirm(self, probe: Probe) -> str:
        with probe.connect() as client:
            client.shutdown(socket.SHUT_WR)  # the echo closes in turn, if it is told
            if not probe.meets("held", client):
                raise self._without("the end of a connection was passed on")
        return "the end of a connection was held back"
