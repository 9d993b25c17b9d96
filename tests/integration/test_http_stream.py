"""Replies that are read as they come."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.integration.http_lab import OK, Loop, Tape, server

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop().running() as running:
        yield running


class Steps:
    """A server that says one part each time it is told to, and then ends as told."""

    def __init__(self, *parts: bytes, after: Callable[[socket.socket], None] | None = None) -> None:
        self.parts, self.after = parts, after
        self.go = threading.Semaphore(0)
        self.requests = 0

    def __call__(self, connection: socket.socket, request: bytes) -> None:
        self.requests += 1
        for part in self.parts:
            assert self.go.acquire(timeout=10)
            connection.sendall(part)
        if self.after is not None:
            self.after(connection)

    def all(self) -> Steps:
        self.go.release(1000)
        return self


def test_chunks_come_one_by_one_with_their_times(loop: Loop) -> None:
    steps, tape = Steps(HEAD, chunk(b"one"), chunk(b"two"), END), Tape()
    with server(steps) as url:
        steps.go.release()
        with loop.client(url, tape).stream("POST", "/chat", json={}) as reply:
            assert (reply.status, reply.ok, reply.headers["content-type"]) == (200, True, "text/event-stream")
            steps.go.release()
            chunks = iter(reply)
            first = next(chunks)
            assert first.data == b"one" and tape.outcomes == []  # the server has not said the second one yet
            steps.go.release(2)
            second = next(chunks)
            assert second.data == b"two" and 0 < first.after_ns < second.after_ns
            assert list(chunks) == []
    assert reply.error is None and reply.latency_ns >= second.after_ns
    assert (tape.sends, tape.outcomes, tape.sizes) == (1, ["ok"], [6])


def test_what_is_not_read_in_the_block_is_read_at_its_end(loop: Loop) -> None:
    steps, tape = Steps(HEAD + chunk(b"a" * 1000), chunk(b"b" * 1000) + END).all(), Tape()
    with server(steps) as url:
        client = loop.client(url, tape)
        with client.stream("POST", "/chat") as reply:
            assert next(iter(reply)).data == b"a" * 1000
        assert (tape.outcomes, tape.sizes) == (["ok"], [2000])
        before = len(loop.runtime.connections)
        assert client.post("/chat").ok  # on the same connection
        assert len(loop.runtime.connections) == before == 1


@pytest.mark.parametrize("how", ["cancel", "raise"])
def test_a_stream_that_is_given_up_is_abandoned(loop: Loop, how: str) -> None:
    steps, tape = Steps(HEAD + chunk(b"a")), Tape()
    steps.after = lambda connection: connection.settimeout(10)
    steps.all()
    with server(steps) as url:
        client = loop.client(url, tape)
        with pytest.raises(KeyError) if how == "raise" else client.stream("POST", "/x") as outer:
            if how == "cancel":
                next(iter(outer))
                outer.cancel()
            else:
                with client.stream("POST", "/x") as reply:
                    next(iter(reply))
                    raise KeyError
        assert tape.outcomes == ["abandoned"] and not loop.runtime.connections


@pytest.mark.parametrize(
    ("said", "closes", "outcome", "parts"),
    [
        (HEAD + chunk(b"a"), True, "short_body", 1),
        (HEAD + chunk(b"a") + b"zz\r\n", False, "bad_http", 1),
        (HEAD + chunk(b"a"), False, "timeout", 1),
        (b"", True, "closed", 0),
        (b"", False, "timeout", 0),
        (b"HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\nx", False, "http_503", 1),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True, "ok", 1),
        (b"HTTP/1.1 204 No\r\n\r\n", False, "ok", 0),
        (OK, False, "ok", 1),
    ],
)
def test_a_stream_ends_with_a_name(loop: Loop, said: bytes, closes: bool, outcome: str, parts: int) -> None:
    tape = Tape()

    def serve(connection: socket.socket, request: bytes) -> None:
        connection.sendall(said)
        if closes:
            connection.shutdown(socket.SHUT_RDWR)

    with server(serve) as url:
        with loop.client(url, tape, timeout=1.0 if outcome == "timeout" else 10.0).stream("POST", "/x") as reply:
            found = list(reply)
        assert (reply.error or "ok", len(found)) == (outcome, parts)
    assert tape.outcomes == [outcome]


def test_a_stream_to_nobody(loop: Loop) -> None:
    tape = Tape()
    with loop.client("http://127.0.0.1:1", tape).stream("GET", "/") as reply:
        assert not reply.ok and list(reply) == [] and reply.status == 0
    assert tape.outcomes == ["refused"] and tape.sends == 0


def test_lines_and_events(loop: Loop) -> None:
    first = "retry: 5\nid: 7\ndata: caf\u00e9\ndata:two\n\n: comment\n\n"
    text = (first + "event: end\r\ndata: {}\r\n\r\ndata: not ended").encode()
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]  # also within a character
    steps = Steps(HEAD, *map(chunk, pieces), END).all()
    with server(steps) as url:
        client = loop.client(url, Tape())
        with client.stream("GET", "/") as reply:
            events = list(reply.events())
        assert [one[:3] for one in events] == [("caf\u00e9\ntwo", "message", "7"), ("{}", "end", "7")]
        assert 0 < events[0].after_ns <= events[1].after_ns
        steps.all()
        with client.stream("GET", "/") as reply:
            assert [line.text for line in reply.lines()] == text.decode().replace("\r", "").split("\n")


def test_a_request_during_a_stream_has_a_connection_of_its_own(loop: Loop) -> None:
    steps, tape = Steps(HEAD + chunk(b"a"), END), Tape()

    def serve(connection: socket.socket, request: bytes) -> None:
        if b"/stream" in request:
            steps(connection, request)
        else:
            connection.sendall(OK)

    with server(serve) as url:
        client = loop.client(url, tape)
        steps.go.release()
        with client.stream("GET", "/stream") as reply:
            assert client.get("/feedback").ok
            steps.go.release()
        assert reply.ok and tape.outcomes == ["ok", "ok"]
