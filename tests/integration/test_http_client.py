"""The HTTP client against servers whose every byte is said: redirects, compression, limits, connections that died."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from harness.load.http_connection import Limits
from tests.integration.http_lab import OK, Loop, Tape, hang_up, server


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop().running() as running:
        yield running


def path_of(request: bytes) -> str:
    return request.split(b" ", 2)[1].decode()


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_redirect_is_a_reply_unless_it_shall_be_followed(loop: Loop) -> None:
    tape = Tape()
    with server(lambda connection, _: connection.sendall(redirect("/b"))) as url:
        reply = loop.client(url, tape).get("/a")
    assert (reply.status, reply.error, reply.headers["location"]) == (302, None, "/b")
    assert (tape.sends, tape.repeats, tape.outcomes) == (1, 0, ["ok"])


def test_redirects_are_followed_as_one_request(loop: Loop) -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        at = path_of(request)
        replies = {"/a": redirect("b?x=1", 307), "/b?x=1": redirect("/c#part", 303), "/c": OK}
        connection.sendall(replies[at])

    tape = Tape()
    with server(serve) as url:
        reply = loop.client(url, tape, redirects=2).post("/a", json={"k": 1}, headers={"Content-Type": "application/x"})
    assert (reply.status, reply.body) == (200, b"hello")
    assert [request.split(b" HTTP")[0] for request in seen] == [b"POST /a", b"POST /b?x=1", b"GET /c"]
    assert [request.partition(b"\r\n\r\n")[2] for request in seen] == [b'{"k":1}', b'{"k":1}', b""]
    assert b"Content-Type" in seen[1] and b"Content-Type" not in seen[2]
    assert (tape.sends, tape.repeats, tape.outcomes) == (1, 2, ["ok"])


@pytest.mark.parametrize(
    ("location", "outcome"),
    [("/a", "redirect_loop"), ("", "bad_redirect"), ("ftp://h/x", "bad_redirect"), ("http://[/", "bad_redirect"),
     ("http://127.0.0.1:1/", "refused")],
)  # fmt: skip
def test_redirects_that_lead_nowhere(loop: Loop, location: str, outcome: str) -> None:
    tape = Tape()
    with server(lambda connection, _: connection.sendall(redirect(location))) as url:
        reply = loop.client(url, tape, redirects=5).get("/a")
    assert (reply.status, reply.error, tape.outcomes) == (0, outcome, [outcome])


def test_redirects_have_an_end(loop: Loop) -> None:
    tape = Tape()
    with server(lambda connection, request: connection.sendall(redirect(path_of(request) + "x"))) as url:
        assert loop.client(url, tape, redirects=3).get("/a").error == "too_many_redirects"
    assert (tape.sends, tape.repeats) == (1, 3)


def test_what_is_secret_is_not_told_to_another_server(loop: Loop) -> None:
    seen: list[bytes] = []

    def end(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.sendall(OK)

    with server(end) as far, server(lambda connection, _: connection.sendall(redirect(f"{far}/b"))) as near:
        headers = {"Authorization": "Bearer x", "X-Kept": "1"}
        assert loop.client(near, Tape(), redirects=1).get("/a", headers=headers).ok
    assert b"Authorization" not in seen[0] and b"X-Kept: 1" in seen[0]


PLAIN = b"some text that is repeated, " * 100
_bare = zlib.compressobj(wbits=-15)
ENCODED: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", gzip.compress(PLAIN)),
    "members": ("x-gzip", gzip.compress(PLAIN[:50]) + gzip.compress(PLAIN[50:])),
    "zlib": ("deflate", zlib.compress(PLAIN)),
    "bare": ("Deflate", _bare.compress(PLAIN) + _bare.flush()),
    "twice": ("deflate, gzip", gzip.compress(zlib.compress(PLAIN))),
    "none": ("identity", PLAIN),
}


def encoded(encoding: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("kind", ENCODED)
def test_compressed_replies_are_unpacked_when_asked(loop: Loop, kind: str) -> None:
    asked: list[bytes] = []

    def serve(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        connection.sendall(encoded(*ENCODED[kind]))

    with server(serve) as url:
        assert loop.client(url, Tape()).get("/").body == ENCODED[kind][1]
        assert loop.client(url, Tape(), decompress=True).get("/").body == PLAIN
        with loop.client(url, Tape(), decompress=True).stream("GET", "/") as reply:
            assert b"".join(chunk.data for chunk in reply.decode()) == PLAIN
    assert [b"Accept-Encoding: gzip, deflate" in request for request in asked] == [False, True, True]


@pytest.mark.parametrize(
    ("encoding", "body", "outcome"),
    [("gzip", b"no gzip", "bad_encoding"), ("gzip", gzip.compress(PLAIN)[:-9], "bad_encoding"),
     ("br", b"x", "bad_encoding"),
     ("gzip", gzip.compress(bytes(200_000)), "too_large"), ("gzip", b"", None), ("deflate", b"x", "bad_encoding")],
)  # fmt: skip
def test_what_cannot_be_unpacked_is_named(loop: Loop, encoding: str, body: bytes, outcome: str | None) -> None:
    tape = Tape()
    with server(lambda connection, _: connection.sendall(encoded(encoding, body))) as url:
        client = loop.client(url, tape, decompress=True, limits=Limits(reply=100_000))
        assert client.get("/").error == outcome
        with client.stream("GET", "/") as reply:
            if encoding != "br":
                reply.decode()
        assert reply.error == (None if encoding == "br" else outcome)


@pytest.mark.parametrize(
    ("sent", "limits", "outcome"),
    [(OK, Limits(reply=len(OK)), "ok"), (OK, Limits(reply=len(OK) - 1), "too_large"),
     (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n", Limits(reply=500),
      "too_large"),
     (OK, Limits(head=38), "ok"), (OK, Limits(head=37), "head_too_large"),
     (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2000, Limits(head=1000), "head_too_large"),
     (b"HTTP/1.1 103 Hints\r\n\r\n" * 100, Limits(head=1000), "head_too_large")],
)  # fmt: skip
def test_a_reply_has_its_limits(loop: Loop, sent: bytes, limits: Limits, outcome: str) -> None:
    tape = Tape()
    with server(lambda connection, _: connection.sendall(sent)) as url:
        loop.client(url, tape, limits=limits, timeout=5).get("/")
    assert tape.outcomes == [outcome]


def test_names_that_are_none_and_machines_that_are_full(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = Tape()
    loop.client("http://no-such-name.invalid", tape).get("/")
    loop.client("http://" + "x" * 70 + ".invalid", tape).get("/")

    def full(*_: Any) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "create_connection", full)
    loop.client("http://127.0.0.1:1", tape).get("/")
    assert tape.outcomes == ["unresolved", "unresolved", "client_limit"] and tape.sends == 0


@pytest.mark.parametrize(("method", "outcome"), [("GET", "ok"), ("PUT", "ok"), ("POST", "closed")])
def test_only_what_may_be_carried_out_twice_is_sent_again(loop: Loop, method: str, outcome: str) -> None:
    """The second request reaches a server that has read it and says nothing."""
    requests: list[bytes] = []

    def serve(connection: socket.socket, request: bytes) -> None:
        requests.append(request)
        if len(requests) == 2:
            hang_up(connection)
        else:
            connection.sendall(OK)

    tape = Tape()
    with server(serve) as url:
        client = loop.client(url, tape)
        client.request(method, "/1")
        client.request(method, "/2")
    assert tape.outcomes == ["ok", outcome]
    assert tape.sends + tape.repeats == len(requests)


def test_a_connection_that_was_closed_behind_the_reply_is_not_used_again(loop: Loop) -> None:
    """Not even when the loop has not run since, and for a POST, which could not be sent again."""
    closed = threading.Event()

    def serve(connection: socket.socket, request: bytes) -> None:
        connection.sendall(OK)
        hang_up(connection)
        closed.set()

    tape = Tape()
    with server(serve) as url:
        client = loop.client(url, tape)
        for _ in range(20):
            assert client.post("/x", json={}).ok
            assert closed.wait(10)  # this thread is the loop's
            closed.clear()
    assert (tape.sends, tape.repeats) == (20, 0)


def test_a_reply_that_comes_before_the_request_is_sent_ends_the_connection(loop: Loop) -> None:
    heads: list[bytes] = []

    def early(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                heads.append(connection.recv(100))
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                connection.settimeout(10)
                while connection.recv(65536) and len(heads) < 2:
                    connection.settimeout(0.2)

    tape = Tape()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=early, args=(listener,), daemon=True)
        thread.start()
        client = loop.client(f"http://127.0.0.1:{listener.getsockname()[1]}", tape, timeout=5)
        assert client.post("/x", data=bytes(30_000_000)).error == "http_413"
        assert client.post("/y", data=b"x").error == "http_413"
        client.close()
        thread.join(10)
    assert len(heads) == 2
