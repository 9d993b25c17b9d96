"""The two ends of a proxied connection. Without faults each hands what it receives straight to the other.

Bytes, half-closes and resets pass through unchanged, and a slow reader slows its writer: what is held in between is
bounded. An upstream that is not there is a reset to the client, never a wait.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from harness.stack.proxy.mechanisms.base import Kind
from harness.stack.proxy.pipe import Pipe

if TYPE_CHECKING:
    from harness.stack.proxy.link import Connection, Link

HOST = "127.0.0.1"
HIGH_WATER = 1 << 20  # bytes waiting for one reader before its writer is paused
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Side(asyncio.Protocol):
    """One end of a proxied connection: what it receives goes to `out`, which leads to its `peer`."""

    direction = ""  # of what this side receives
    connection: Connection

    def __init__(self, link: Link) -> None:
        self.link = link
        self.peer: Side | None = None
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.finished = False  # the other end has said that it sends no more
        self.told_end = False  # and has been told the same
        self.pipe: Pipe | None = None  # only while there are faults
        self.out: Callable[[bytes], None] = self._keep
        self._full_buffer = False
        self._full_pipe = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.out(data)

    def _keep(self, data: bytes) -> None:
        """There is no peer."""

    def route(self) -> None:
        """Take the way that the faults of the link want: a pipe, or none."""
        if self.peer is None or self.peer.transport is None:
            return
        acts = self.link.acting(self.connection, self.direction)
        if acts and self.pipe is None:
            self.pipe = Pipe(self)
        if self.pipe is not None:
            self.pipe.rearrange(acts)
            self.out = self.pipe.feed
        if self.pipe is None or (not acts and self.pipe.empty):
            self.pipe = None
            self.out = self.peer.transport.write

    def pass_data(self, data: bytes | memoryview) -> None:
        """To the peer; nowhere when that is gone and this side was not told."""
        if self.peer is not None and self.peer.transport is not None and not self.peer.closed:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass a half-close on, and stay open for the other direction."""
        self.finished = True
        self._end("fin")
        return not self.told_end

    def _end(self, kind: Kind) -> None:
        if self.pipe is not None:
            self.pipe.feed_end(kind)
        else:
            self.pass_end(kind)

    def pass_end(self, kind: Kind) -> None:
        """Do to the peer what was done here; a peer that has both said and been told the end closes."""
        peer = self.peer
        if peer is None or peer.transport is None or peer.closed:
            return
        if kind == "rst":
            peer.reset()
        elif peer.transport.can_write_eof() and not peer.told_end:
            peer.told_end = True
            peer.transport.write_eof()
            if peer.finished:
                peer.transport.close()

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.hold_back(buffer=True)

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.hold_back(buffer=False)

    def hold_back(self, *, buffer: bool | None = None, pipe: bool | None = None) -> None:
        """Read no more while the peer's buffer or the pipe is full."""
        before = self._full_buffer or self._full_pipe
        self._full_buffer = self._full_buffer if buffer is None else buffer
        self._full_pipe = self._full_pipe if pipe is None else pipe
        after = self._full_buffer or self._full_pipe
        if before != after and self.transport is not None and not self.closed:
            (self.transport.pause_reading if after else self.transport.resume_reading)()

    def connection_lost(self, error: Exception | None) -> None:
        """An end that both sides agreed on is a close; anything else is passed on as a reset."""
        self.closed = True
        self.connection.lost()
        if error is not None or not (self.finished and self.told_end):
            self._end("rst")

    def reset(self) -> None:
        """Close at once with RST, discarding what is unsent."""
        if self.transport is not None and not self.closed:
            self.closed = True
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()


class Downstream(Side):
    """The client's end; dials the upstream when the client has connected, if the faults let it."""

    direction = "up"

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        port = self.link.admit(self, transport.get_extra_info("peername"))
        if port is None:
            self.reset()
            return
        task = asyncio.get_running_loop().create_task(self._dial(port))
        self.link.dials.add(task)
        task.add_done_callback(self.link.dials.discard)

    def _keep(self, data: bytes) -> None:
        """Before the upstream is there, keep what came and read no more (uvloop reads whatever was paused before)."""
        if self.transport is not None and not self.closed:
            self._early.append(data)
            self.transport.pause_reading()

    def join(self, peer: Side) -> None:
        """The upstream is there: pass on what came before it, and go on."""
        if self.closed or self.transport is None or peer.transport is None:
            peer.reset()
            return
        self.peer = peer
        self.route()
        for data in self._early:
            self.out(data)
        self._early.clear()
        if self.finished:
            self._end("fin")
        if not (self._full_buffer or self._full_pipe):
            self.transport.resume_reading()

    async def _dial(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Upstream(self), HOST, port)
        except OSError:
            self.link.counters.undialled += 1
            self.reset()


class Upstream(Side):
    """The server's end: paired before its first byte can arrive."""

    direction = "down"

    def __init__(self, client: Downstream) -> None:
        super().__init__(client.link)
        self.peer = client
        self.connection = client.connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connection.server = self
        self.route()
        if self.peer is not None:
            cast(Downstream, self.peer).join(self)
