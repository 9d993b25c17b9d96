"""What the tests of the HTTP client share: a client on a loop of this process, and servers whose every byte is said."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gevent import Timeout, get_hub, getcurrent

from harness.load.http_client import HttpClient
from harness.load.http_connection import SWEEP_SECONDS, Runtime
from harness.load.http_message import Target
from harness.load.sink import Moment, Result

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

Serve = Callable[[socket.socket, bytes], None]


class Tape:
    """A channel that remembers: what was sent, what was sent again, and how each request ended."""

    def __init__(self) -> None:
        self.sends = self.repeats = 0
        self.outcomes: list[str] = []
        self.sizes: list[int] = []

    def sent(self, moment: Moment) -> None:
        self.sends += 1

    def retried(self, moment: Moment) -> None:
        self.repeats += 1

    def finished(self, moment: Moment, start_ns: int, end_ns: int, reply: Result) -> None:
        assert start_ns <= end_ns
        self.outcomes.append(reply.error or "ok")
        self.sizes.append(reply.size)


class Loop:
    """The runtime of this process, with what was raised in its loop."""

    def __init__(self) -> None:
        self.hub = get_hub()
        self.runtime = Runtime(self.hub, getcurrent, lambda seconds: Timeout(seconds, False))
        self.raised: list[Any] = []

    @contextmanager
    def running(self) -> Iterator[Loop]:
        """Sweeps as the harness does; afterwards nothing may have been raised in the loop."""
        timer = self.hub.loop.timer(SWEEP_SECONDS, SWEEP_SECONDS)
        timer.start(self.runtime.sweep)
        self.hub.handle_error = lambda *error: self.raised.append(error)
        try:
            yield self
        finally:
            timer.stop()
            timer.close()
            del self.hub.handle_error
        assert not self.raised

    def client(self, url: str, tape: Tape, **options: Any) -> HttpClient:
        """A client whose samples go on the tape."""
        return HttpClient(
            Target(url),
            self.runtime,
            channel=lambda _method, _name: tape,
            moment=lambda now_ns: Moment(now_ns, now_ns),
            **options,
        )


def read_request(connection: socket.socket, held: bytes = b"") -> bytes | None:
    """One whole request, or None when there is no other."""
    while b"\r\n\r\n" not in held:
        if not (part := connection.recv(65536)):
            return None
        held += part
    head, _, body = held.partition(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < sum(lengths):
        if not (part := connection.recv(65536)):
            return None
        body += part
    return head + b"\r\n\r\n" + body


@contextmanager
def server(serve: Serve, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server whose connections `serve` each request, in threads; the URL it is reached under."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threads: list[threading.Thread] = []

    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # what a client breaks off is its own affair
            wrapped = tls.wrap_socket(connection, server_side=True) if tls is not None else connection
            while (request := read_request(wrapped)) is not None:
                serve(wrapped, request)

    def accept() -> None:
        with suppress(OSError):  # closed: the end
            while True:
                connection, _ = listener.accept()
                connection.settimeout(10)
                threads.append(threading.Thread(target=converse, args=(connection,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(10)


def hang_up(connection: socket.socket) -> None:
    """Say that nothing more comes, without a reset of what was said."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
