"""What a fault has done so far: the evidence that it was in force."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Of one fault. `bytes` and `connections` met it; the others say what it did to them.

    delayed: pieces of data; throttled: pieces that waited for bandwidth; reset: open connections; refused: new ones;
    swallowed and corrupted: bytes; held: ends (FIN or RST) that were not passed on at once, or never.
    """

    bytes: int = 0
    connections: int = 0
    delayed: int = 0
    throttled: int = 0
    reset: int = 0
    refused: int = 0
    swallowed: int = 0
    corrupted: int = 0
    held: int = 0


@dataclass(slots=True)
class LinkCounters:
    """Of one link since the proxy started. accepted: connections of clients; open: of them now; undialled: those whose
    upstream was not there. Probes of the harness are not in it."""

    accepted: int = 0
    open: int = 0
    undialled: int = 0
