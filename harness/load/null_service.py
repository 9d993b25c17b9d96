"""A service that answers every HTTP request at once with the same few bytes: what is measured on it is noise.

python -m harness.load.null_service        says its port on standard output, ends with standard input
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import cast

import httptools
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
BODY = b"{}"
BACKLOG = 1024


class NullService(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its methods and another base
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.close()

    def on_message_complete(self) -> None:
        """Called by the parser at the end of each request."""
        self._transport.write(HEAD if self._parser.get_method() == b"HEAD" else HEAD + BODY)
        if not self._parser.should_keep_alive():
            self._transport.close()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(NullService, "127.0.0.1", 0, backlog=BACKLOG)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    gc.collect()
    gc.freeze()  # so that its own collections are no part of the noise
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
