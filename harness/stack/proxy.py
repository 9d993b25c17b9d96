"""The links of a stack: a pass-through TCP proxy on each connection between the app and what it depends on.

`python -m harness.stack.proxy CONFIG.json` with {"links": {name: {"listen": port, "to": port}}, "ready": path} listens
on 127.0.0.1 and writes the file `ready` once all links do. One process serves all links. Bytes, half-closes and resets
pass through unchanged, and a slow reader slows its writer: what is held in between is bounded. An upstream that is not
there is a reset to the client, never a wait.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import sys
from pathlib import Path
from typing import cast

import orjson
import uvloop

HOST = "127.0.0.1"
BACKLOG = 1024
HIGH_WATER = 1 << 20  # bytes waiting for one reader before its writer is paused
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Side(asyncio.Protocol):
    """One end of a proxied connection: what it receives is written to its `peer`."""

    def __init__(self) -> None:
        self.peer: Side | None = None
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.finished = False  # the other end has said that it sends no more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass a half-close on, and stay open for the other direction."""
        self.finished = True
        peer = self.peer
        if peer is not None and peer.transport is not None and not peer.closed and peer.transport.can_write_eof():
            peer.transport.write_eof()
        return not (peer is not None and peer.finished)

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None and not self.peer.closed:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None and not self.peer.closed:
            self.peer.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """An end that both sides agreed on is a close; anything else is passed on as a reset."""
        self.closed = True
        peer = self.peer
        if peer is None or peer.transport is None or peer.closed:
            return
        if error is None and self.finished and peer.finished:
            peer.transport.close()
        else:
            peer.reset()

    def reset(self) -> None:
        """Close at once with RST, discarding what is unsent."""
        if self.transport is not None and not self.closed:
            self.closed = True
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()


class Downstream(Side):
    """The client's end; dials the upstream when the client has connected."""

    def __init__(self, upstream: int, dials: set[asyncio.Task[None]]) -> None:
        super().__init__()
        self._upstream = upstream
        self._dials = dials
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        task = asyncio.get_running_loop().create_task(self._dial())
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def data_received(self, data: bytes) -> None:
        """Before the upstream is there, keep what came and read no more (uvloop reads whatever was paused before)."""
        if self.peer is None and self.transport is not None:
            self._early.append(data)
            self.transport.pause_reading()
        else:
            super().data_received(data)

    def join(self, peer: Side) -> None:
        """The upstream is there: pass on what came before it, and go on."""
        if self.closed or self.transport is None or peer.transport is None:
            peer.reset()
            return
        self.peer = peer
        for data in self._early:
            peer.transport.write(data)
        self._early.clear()
        if self.finished and peer.transport.can_write_eof():
            peer.transport.write_eof()
        self.transport.resume_reading()

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Upstream(self), HOST, self._upstream)
        except OSError:
            self.reset()


class Upstream(Side):
    """The server's end: paired before its first byte can arrive."""

    def __init__(self, client: Downstream) -> None:
        super().__init__()
        self.peer = client
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._client.join(self)


async def serve(config: Path) -> None:
    """Listen on every link of the configuration, for ever. Raises OSError when a port is taken."""
    told = orjson.loads(config.read_bytes())
    loop = asyncio.get_running_loop()
    dials: set[asyncio.Task[None]] = set()
    for link in told["links"].values():
        to = int(link["to"])
        await loop.create_server(
            lambda to=to: Downstream(to, dials),  # type: ignore[misc]
            HOST,
            int(link["listen"]),
            backlog=BACKLOG,
        )
    Path(told["ready"]).touch()
    gc.freeze()
    await asyncio.Event().wait()


def main() -> int:
    uvloop.run(serve(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
