"""One connection that carries one request at a time, on an event loop that is passed in: what a protocol adds is how
replies are read.

A read watcher is always on: the loop reads and parses, and the greenlet that waits is switched to once, when the reply
is whole. What the socket does not take at once, the loop sends when it does.
"""

from __future__ import annotations

import _socket
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from harness.load.http_connection import CHUNK, READ, WRITE, Runtime

CONNECT_TIMEOUT_NS = 5_000_000_000


def connect(host: str, port: int, deadline_ns: int) -> socket.socket | str:
    """A connected socket, or the name of what went wrong: connect_timeout | refused | reset | unreachable."""
    left = max(1_000_000, min(CONNECT_TIMEOUT_NS, deadline_ns - time.monotonic_ns()))
    try:
        connected = socket.create_connection((host, port), left / 1e9)
    except TimeoutError:
        return "connect_timeout"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except OSError:  # no route, no such name
        return "unreachable"
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


class Wire(ABC):
    """The part that is the same for all protocols. A subclass overrides `_received`, which calls `finish` as soon as
    the reply is whole or wrong.

    After `exchange`: end_ns, and `over`, which says that no other request may follow.
    """

    def __init__(self, connected: socket.socket, runtime: Runtime) -> None:
        # without the wrapper that gevent or the standard library put around it: it is never waited on through that
        self._socket = _socket.socket(fileno=connected.detach())
        self._socket.setblocking(False)
        self._runtime = runtime
        self._read = runtime.hub.loop.io(self._socket.fileno(), READ)
        self._write = runtime.hub.loop.io(self._socket.fileno(), WRITE)
        self._out = bytearray()  # what the socket has not taken yet
        self._waiter: object | None = None
        self._on_written: Callable[[], None] | None = None
        self._written = self._begun = False
        self._done = True
        self.over = False
        self.error: str | None = None
        self.deadline_ns = self.end_ns = 0
        runtime.connections.add(self)
        self._read.start(self._on_readable)

    def still_open(self) -> bool:
        """Not over, nor closed by the peer in a way that the loop has not seen yet."""
        if self.over:
            return False
        try:
            self._socket.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._on_readable()  # what came between two requests: the end, or something that a protocol may know
        return not self.over

    def exchange(self, message: bytes, deadline_ns: int, on_written: Callable[[], None] | None) -> str | None:
        """Send and wait for the whole reply; returns the kind of error or None. Must not run in the loop itself.

        on_written: called as soon as the first bytes have gone out, for the reply may never come.
        """
        self.error, self._done, self.end_ns = None, False, 0
        self._written = self._begun = False
        self._on_written = on_written
        self._waiter = self._runtime.current()
        self.deadline_ns = deadline_ns
        try:
            self._send(message)
            while not self._done:
                self._runtime.hub.switch()
        except BaseException:  # the user was stopped in the middle of it: the connection's state is unknown
            self.close()
            raise
        finally:
            self._waiter, self.deadline_ns = None, 0
        if self.error is not None:
            self.over = True
        return self.error

    def close(self) -> None:
        """For good. May be called more than once."""
        self.over = True
        if self in self._runtime.connections:
            self._runtime.connections.discard(self)
            for watcher in (self._read, self._write):
                watcher.stop()
                watcher.close()
            self._socket.close()

    def finish(self, error: str | None) -> None:
        """The request is over. Runs in the loop, or in the greenlet while it is still sending."""
        if self._done:
            return
        self.end_ns = time.monotonic_ns()
        self.error, self._done = error, True
        waiter = self._waiter
        if waiter is not None and waiter is not self._runtime.current():
            waiter.switch()  # type: ignore[attr-defined]

    @abstractmethod
    def _received(self, data: bytes) -> None:
        """What has come, in the loop."""

    def _lost_as(self) -> str:
        """What it is called when the peer closes in the middle of a request."""
        return "short_reply" if self._begun else "closed"

    def _send(self, data: bytes) -> None:
        """Now, or as far as the socket takes it, the rest when it does."""
        if self._out:
            self._out += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost("reset" if self._written else "closed")
            return
        if sent:
            self._gone_out()
        if sent < len(data):
            self._out += data[sent:]
            self._write.start(self._on_writable)

    def _gone_out(self) -> None:
        if not self._written:
            self._written = True
            if self._on_written is not None:
                self._on_written()

    def _on_writable(self) -> None:
        try:
            del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            return
        except OSError:
            self._lost("reset" if self._written else "closed")
            return
        self._gone_out()
        if not self._out:
            self._write.stop()

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lost("reset")
            return
        if data:
            self._received(data)
        else:
            self._lost(self._lost_as())

    def _lost(self, error: str) -> None:
        """The peer closed, or the connection broke."""
        self.over = True
        self._read.stop()
        self._write.stop()
        self.finish(error)
