"""Reset: connections end with RST, those that are open and those that come."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from pydantic import Field

from harness.core.errors import UsageError
from harness.faults.link_fault import LinkFault, LinkParameters
from harness.faults.probe import Probe, exchange
from harness.faults.toxiproxy import Toxic
from harness.stack.links import Links


class ResetParameters(LinkParameters):
    open: bool = Field(True, description="reset the connections that are open when it begins")
    new: bool = Field(True, description="reset those that come meanwhile")


class Reset(LinkFault):
    """open: reset the connections that are open when it begins, at both ends; new: reset those that come meanwhile."""

    name = "reset"
    takes = ResetParameters
    directed = False
    evidence: ClassVar[tuple[str, ...]] = ("reset", "refused")

    def __init__(self, links: Links, link: str, *, open: bool = True, new: bool = True, **more: Any) -> None:
        super().__init__(links, link, **more)
        if not (open or new):
            raise UsageError("fault-parameter", "neither open nor new connections are reset", "Choose one at least.")
        self._open, self._new = open, new
        self._before: socket.socket | None = None

    def settings(self) -> dict[str, Any]:
        return {"open": self._open, "new": self._new}

    def toxic(self) -> Toxic | None:
        return Toxic("reset_peer", {"timeout": 0}) if self._open and self._new else None  # it has no choice

    def _prepare(self, probe: Probe) -> None:
        if self._open:
            self._before = probe.connect()
            exchange(self._before, b"?")

    def _confirm(self, probe: Probe) -> str:
        if self._before is not None:
            with self._before as client:
                if not probe.is_reset(client):
                    raise self._without("a connection that was open stayed open")
        if self._new and not probe.is_turned_away():
            raise self._without("a new connection was let in")
        return " and ".join(["an open connection"] * self._open + ["a new connection"] * self._new) + " got RST"
