"""One keep-alive HTTP/1.1 connection, one request at a time, on an event loop that is passed in.

A read watcher is always on: the loop reads and parses, and the greenlet that waits is switched to once, when the reply
is whole. Deadlines are kept in one sweep over all connections: a timer for each request costs more than the request.
"""

from __future__ import annotations

import _socket
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import httptools

from harness.load.reply import parse_head, split_head
from harness.load.sink import Channel, Moment

READ, WRITE = 1, 2  # the loop's event bits
FIRST_CHUNK, CHUNK = 8192, 65536
SWEEP_SECONDS = 0.02  # how late a timeout may be noticed
_TCP_INFO = getattr(_socket, "TCP_INFO", None)
_ESTABLISHED = b"\x01"  # what TCP_INFO begins with


class Hub(Protocol):
    """What is needed of gevent's hub."""

    loop: Any

    def switch(self) -> Any: ...


class Timed(Protocol):
    """What the sweep looks after. deadline_ns: CLOCK_MONOTONIC, 0 while nothing is asked."""

    @property
    def deadline_ns(self) -> int: ...

    def finish(self, error: str | None) -> None: ...


class Runtime:
    """The event loop and its connections. current: the running greenlet; `sweep` is called every SWEEP_SECONDS; limit:
    a block that raises TimeoutError in the greenlet after so many seconds, for what a sweep cannot end."""

    def __init__(
        self,
        hub: Hub,
        current: Callable[[], Any],
        limit: Callable[[float], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.hub = hub
        self.current = current
        self.limit = limit
        self.connections: set[Timed] = set()
        self.sweeper: Any = None  # whoever calls `sweep`

    def sweep(self) -> None:
        """Fail every request whose deadline has passed. Runs in the loop."""
        now = time.monotonic_ns()
        for connection in [one for one in self.connections if 0 < one.deadline_ns <= now]:
            connection.finish("timeout")


class Limits(NamedTuple):
    """Bytes that a reply may have: as it comes over the connection, and its head."""

    reply: int = 64 * 1024 * 1024
    head: int = 64 * 1024


class Connection:
    """After `exchange`: status, head, body, error, end_ns, begun (a byte of a reply came), written (a byte of the
    request went out). `over` and `still_open` say whether another request may follow."""

    # more attributes than an instance dictionary can share its keys for
    __slots__ = (
        "_channel", "_chunk", "_chunks", "_closed", "_current", "_done", "_feed_parser", "_fresh", "_head_only",
        "_in_head", "_keep_alive", "_moment", "_most", "_most_head", "_parser", "_piecewise", "_read", "_receive",
        "_received", "_rest", "_runtime", "_socket", "_surplus", "_switch", "_times", "_waiter", "_whole",
        "_writable", "_write", "deadline_ns", "end_ns", "error", "head", "over", "status", "written",
    )  # fmt: skip
    error: str | None
    status: int
    end_ns: int

    def __init__(self, connected: socket.socket, runtime: Runtime, limits: Limits) -> None:
        # without the wrapper that gevent or the standard library put around it: it is never waited on through that
        self._socket = _socket.socket(fileno=connected.detach())
        self._socket.setblocking(False)
        self._receive, self._write = self._socket.recv, self._socket.send
        self._runtime, self._switch, self._current = runtime, runtime.hub.switch, runtime.current
        self._most, self._most_head = limits
        self._read = runtime.hub.loop.io(self._socket.fileno(), READ)
        self._writable: Any = None
        self._waiter: Any = None
        self.over = False  # closed by the peer or here, or the last reply did not end well: no request may follow
        self._closed = False
        self._chunk = FIRST_CHUNK
        self._new_parser()
        self.deadline_ns = 0
        self._begin(False, False)
        self._done = True
        runtime.connections.add(self)
        self._read.start(self._on_readable)

    def still_open(self) -> bool:
        """Not closed by the peer in a way that the loop has not seen yet."""
        try:
            if _TCP_INFO is not None:  # half of what a peek costs, which has to raise to say that there is nothing
                return self._socket.getsockopt(_socket.IPPROTO_TCP, _TCP_INFO, 1) == _ESTABLISHED
            return bool(self._receive(1, _socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def exchange(
        self,
        message: bytes,
        deadline_ns: int,
        channel: Channel | None,
        moment: Moment,
        head_only: bool = False,
        piecewise: bool = False,
    ) -> str | None:
        """Send and wait for the whole reply, or piecewise: for its head; returns the kind of error or None. Must not
        run in the loop itself.

        channel: told as soon as the first bytes have gone out, for the reply may never come.
        """
        self._begin(head_only, piecewise)
        self._channel, self._moment, self.deadline_ns = channel, moment, deadline_ns
        try:
            self._send(message)
            if not self._done:
                self._waiter, switch = self._current(), self._switch
                while not self._done and (self._in_head or not piecewise):
                    switch()
        except BaseException:  # the user was stopped in the middle of it: this connection's state is unknown
            self._waiter = None
            self.close()
            raise
        self._waiter = None
        return self.error

    def more(self) -> list[tuple[bytes, int]]:
        """Piecewise: the parts of the body that have come since the last call, each with its time (CLOCK_MONOTONIC
        ns); waits for one, and gives none at the end."""
        try:
            while not self._chunks and not self._done:
                self._wait()
        except BaseException:
            self.over = True
            raise
        taken = list(zip(self._chunks, self._times, strict=True))
        self._chunks.clear()
        self._times.clear()
        return taken

    def close(self) -> None:
        """Let go of the socket. Nobody may be waiting."""
        if self._closed:
            return
        self.over = self._closed = True
        self._runtime.connections.discard(self)
        for watcher in (self._read, self._writable):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._socket.close()
        self._done, self.deadline_ns = True, 0

    def finish(self, error: str | None, end_ns: int = 0) -> None:
        """The request is over. Runs in the loop, or in the greenlet while it is still sending."""
        if self._done:
            return
        self._done = True
        self.end_ns = end_ns or time.monotonic_ns()
        self.error = error
        self.deadline_ns = 0
        if error is not None or not self._keep_alive or self._rest:  # the last: answered before it was all sent
            self.over = True
        if self._waiter is not None:
            self._waiter.switch()

    @property
    def begun(self) -> bool:
        return bool(self.head)

    @property
    def body(self) -> bytes:
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def _wait(self) -> None:
        self._waiter = self._current()
        try:
            self._switch()
        finally:
            self._waiter = None

    def _new_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._feed_parser = self._parser.feed_data
        self._fresh = True

    def _begin(self, head_only: bool, piecewise: bool) -> None:
        if not self._fresh:
            self._new_parser()
        self._head_only, self._piecewise = head_only, piecewise
        self._in_head, self._done = True, False
        self._whole = self._surplus = self._keep_alive = self.written = False
        self._chunks: list[bytes] = []
        self._times: list[int] = []
        self._rest = b""
        self._received = 0
        self.status, self.head, self.end_ns = 0, b"", 0
        self.error = None

    def _send(self, message: bytes) -> None:
        """Hand `message` to the system as far as it goes; the loop sends the rest."""
        try:
            count = self._write(message)
        except BlockingIOError:
            count = 0
        except OSError:
            self.finish("reset" if self.written else "closed")
            return
        if count and not self.written:
            self.written = True
            if self._channel is not None:
                self._channel.sent(self._moment)
        if count < len(message):
            self._rest = message[count:]
            if self._writable is None:
                self._writable = self._runtime.hub.loop.io(self._socket.fileno(), WRITE)
            self._writable.start(self._on_writable)

    def _on_writable(self) -> None:
        self._writable.stop()
        if not self._done:
            rest, self._rest = self._rest, b""
            self._send(rest)

    def _on_readable(self) -> None:
        try:
            data = self._receive(self._chunk)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lost("reset")
            return
        if not data:
            self._lost(None)
        elif self._done:
            self._lost("bad_http")  # nobody asked
        else:
            if len(data) == self._chunk:
                self._chunk = CHUNK  # worth a buffer of that size, which costs some time each time
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._in_head:
            self.head = self.head + data if self.head else data
        try:
            self._feed_parser(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._surplus = True
        self._received += len(data)
        if self._piecewise:
            self._times += [now] * (len(self._chunks) - len(self._times))
        if self._surplus:
            self._keep_alive = False
            self.finish("bad_http", now)
        elif self._received > self._most:
            self.finish("too_large", now)
        elif len(self.head) > self._most_head and self._head_length() > self._most_head:
            self.finish("head_too_large", now)
        elif self._piecewise:
            if self._whole:
                self.finish(None, now)
            elif self._waiter is not None:
                self._waiter.switch()
        elif self._whole:
            self.finish(None, now)

    def _head_length(self) -> int:
        """How much of `head`, which may go on after it, is a head; those of replies 1xx count."""
        return len(self.head) if self._in_head else len(self.head) - len(split_head(self.head)[1])

    def _lost(self, error: str | None) -> None:
        """The peer closed (None) or the connection broke."""
        self.over = True
        self._read.stop()
        if not self._done:
            self._keep_alive = False
            if error is None and not self._ends_with_the_connection():
                error = "short_body" if self.begun else "closed"
            self.finish(error)

    def _ends_with_the_connection(self) -> bool:
        if self._in_head:
            return False
        fields = parse_head(self.head)
        return "content-length" not in fields and "chunked" not in fields.get("transfer-encoding", "")

    # what the parser calls

    def on_message_begin(self) -> None:
        self._surplus = self._surplus or self._whole

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self._in_head = False
            if self._head_only:  # no body follows, whatever the fields say, which the parser cannot know
                self._fresh = False
                self._whole, self._keep_alive = True, self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        self._chunks.append(part)

    def on_message_complete(self) -> None:
        if self.status:
            self._whole, self._keep_alive = True, self._parser.should_keep_alive()
