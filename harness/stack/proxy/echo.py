"""The server behind a link as a probe sees it: it sends back what it gets, and closes when the client does.

A probe goes through the link's port and its faults like any connection, and leaves the real service alone.
"""

from __future__ import annotations

import asyncio
from typing import cast


class Echo(asyncio.Protocol):
    """A slow reader slows its writer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()
