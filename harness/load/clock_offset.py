"""How far another machine's monotonic clock is ahead, from round trips: the quickest one says it best."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ClockOffset:
    """offset_ns: the master's clock less this machine's; the truth is no further away than error_ns, which is half of
    the quickest round trip, whatever share of it each direction took."""

    offset_ns: int = 0
    error_ns: int | None = None
    trips: int = 0

    def add(self, sent_ns: int, master_ns: int, received_ns: int) -> None:
        """One round trip: sent and received by this machine's clock, master_ns read in between by the other's."""
        self.trips += 1
        error = (received_ns - sent_ns + 1) // 2
        if self.error_ns is None or error < self.error_ns:
            self.error_ns = error
            self.offset_ns = master_ns - (sent_ns + received_ns) // 2

    def to_local(self, master_ns: int) -> int:
        """A moment of the master's clock as this machine's."""
        return master_ns - self.offset_ns
