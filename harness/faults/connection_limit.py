"""Connection limit: so many connections at once, and one more is reset."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, ClassVar

from harness.core.errors import UsageError
from harness.faults.link_fault import LinkFault, LinkParameters
from harness.faults.parameters import main
from harness.faults.probe import Probe, exchange
from harness.stack.links import Links

MOST = 1000


class ConnectionLimitParameters(LinkParameters):
    limit: int = main(ge=0, le=1000, description="connections that are let in at once")


class ConnectionLimit(LinkFault):
    """limit: connections that may be open, up to 1,000. Those open when it begins stay, even if they are more."""

    name = "connection-limit"
    takes = ConnectionLimitParameters
    directed = False
    evidence: ClassVar[tuple[str, ...]] = ("refused",)

    def __init__(self, links: Links, link: str, limit: int, **more: Any) -> None:
        super().__init__(links, link, **more)
        if not 0 <= limit <= MOST:
            raise UsageError("fault-parameter", f"limit is {limit}", f"Write a number from 0 to {MOST}.")
        self._limit = limit

    def settings(self) -> dict[str, Any]:
        return {"limit": self._limit}

    def _confirm(self, probe: Probe) -> str:
        """Probes are counted apart from the connections of others, so they take nobody's place."""
        with ExitStack() as opened:
            for number in range(self._limit):
                client = opened.enter_context(probe.connect())
                if exchange(client, b"?") != b"?":
                    raise self._without(f"probe {number + 1} of {self._limit} was not let in")
            if not probe.is_turned_away():
                raise self._without(f"probe {self._limit + 1} was let in")
        return f"of {self._limit + 1} probes the last got RST"
