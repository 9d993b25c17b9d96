"""One keep-alive HTTP/1.1 connection, one request at a time, on an event loop that is passed in.

A read watcher is always on: the loop reads and parses, and the greenlet that waits is switched to once, when the reply
is whole. Deadlines are kept in one sweep over all connections: a timer for each request costs more than the request.
"""

from __future__ import annotations

import _socket
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

import httptools

from harness.load.reply import parse_head

READ, WRITE = 1, 2  # the loop's event bits
CHUNK = 65536
SWEEP_SECONDS = 0.02  # how late a timeout may be noticed


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
    """The event loop and its connections. current: the running greenlet; `sweep` is called every SWEEP_SECONDS."""

    def __init__(self, hub: Hub, current: Callable[[], Any]) -> None:
        self.hub = hub
        self.current = current
        self.connections: set[Timed] = set()
        self.sweeper: Any = None  # whoever calls `sweep`

    def sweep(self) -> None:
        """Fail every request whose deadline has passed. Runs in the loop."""
        now = time.monotonic_ns()
        for connection in [one for one in self.connections if 0 < one.deadline_ns <= now]:
            connection.finish("timeout")


class Connection:
    """After `exchange`: status, head, body, end_ns, begun (a byte of a reply came), written (a byte of the request
    went out). `over` and `still_open` say whether another request may follow."""

    def __init__(self, connected: socket.socket, runtime: Runtime) -> None:
        # without the wrapper that gevent or the standard library put around it: it is never waited on through that
        self._socket = _socket.socket(fileno=connected.detach())
        self._socket.setblocking(False)
        self._runtime = runtime
        self._read = runtime.hub.loop.io(self._socket.fileno(), READ)
        self._waiter: Any = None
        self._gone = False
        self._on_written: Callable[[], None] | None = None
        self.deadline_ns = 0
        self.error: str | None = None
        self._prepare(False)
        self._done = True
        runtime.connections.add(self)
        self._read.start(self._on_readable)

    @property
    def over(self) -> bool:
        """The peer has closed, or has sent what nobody asked for, or the last reply did not end well."""
        return self._gone

    def still_open(self) -> bool:
        """Not over, nor closed by the peer in a way that the loop has not seen yet."""
        if self._gone:
            return False
        try:
            self._socket.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def exchange(
        self, message: bytes, head_only: bool, deadline_ns: int, on_written: Callable[[], None] | None
    ) -> str | None:
        """Send and wait for the whole reply; returns the kind of error or None. Must not run in the loop itself.

        on_written: called as soon as the first bytes have gone out, for the reply may never come.
        """
        self._prepare(head_only)
        self._on_written = on_written
        self._waiter = self._runtime.current()
        self.deadline_ns = deadline_ns
        try:
            self._send(message)
            while not self._done:
                self._runtime.hub.switch()
        except BaseException:
            self._gone = True
            raise
        finally:
            self._waiter, self.deadline_ns = None, 0
        if self.error is not None or not self._keep_alive:
            self._gone = True
        return self.error

    def close(self) -> None:
        self._gone = True
        self._runtime.connections.discard(self)
        self._read.stop()
        self._read.close()
        self._socket.close()

    def finish(self, error: str | None) -> None:
        """The request is over. Runs in the loop, or in the greenlet while it is still sending."""
        if self._done:
            return
        self.end_ns = time.monotonic_ns()
        self.error, self._done = error, True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and self._waiter is not self._runtime.current():
            self._waiter.switch()

    def _prepare(self, head_only: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._head_only = head_only
        self._keep_alive = False
        self._in_head, self._whole, self._surplus = True, False, False
        self._chunks: list[bytes] = []
        self.error = None
        self.status, self.head = 0, b""
        self.begun = self.written = False
        self.end_ns = 0
        self._done = False

    @property
    def body(self) -> bytes:
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def _send(self, message: bytes) -> None:
        rest, watcher = memoryview(message), None
        try:
            while rest and not self._done:
                try:
                    rest = rest[self._socket.send(rest) :]
                    if not self.written:
                        self.written = True
                        if self._on_written is not None:
                            self._on_written()
                except BlockingIOError:
                    if watcher is None:
                        watcher = self._runtime.hub.loop.io(self._socket.fileno(), WRITE)
                        watcher.start(self._wake)
                    self._runtime.hub.switch()
                except OSError:
                    self.finish("reset" if self.written else "closed")
        finally:
            if watcher is not None:
                watcher.stop()
                watcher.close()
        if rest:
            self._keep_alive = False  # answered before it was all sent

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
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
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        self.begun = True
        if self._in_head:
            self.head += data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._surplus = True
        if self._surplus:
            self._keep_alive = False
            self.finish("bad_http")
        elif self._whole:
            self.finish(None)

    def _lost(self, error: str | None) -> None:
        """The peer closed (None) or the connection broke."""
        self._gone = True
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
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self._in_head = False
            if self._head_only:  # no body follows, whatever the fields say, which the parser cannot know
                self._whole, self._keep_alive = True, self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        self._surplus = self._surplus or self._whole
        self._chunks.append(part)

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self._whole, self._keep_alive = True, self._parser.should_keep_alive()
