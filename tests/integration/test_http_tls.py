"""TLS: who is trusted, and what is said when nobody is."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from harness.load.http_tls import Tls
from tests.integration.http_lab import OK, Loop, Tape, hang_up, server


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop().running() as running:
        yield running


class Certificates:
    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(self.file)
        self.directory = directory

    def context(self, *names: str, asks: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def of_client(self) -> Path:
        path = self.directory / "client.pem"
        self.ca.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(path)
        return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def answer(connection: socket.socket, _: bytes) -> None:
    connection.sendall(OK)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_over_tls(loop: Loop, certificates: Certificates, version: ssl.TLSVersion) -> None:
    """One handshake for all; bodies larger than a record, both ways."""
    context = certificates.context("127.0.0.1")
    context.minimum_version = context.maximum_version = version
    large = bytes(range(256)) * 4000
    heads: list[bytes] = []
    bodies: list[bytes] = []

    def echo(connection: socket.socket, request: bytes) -> None:
        heads.append(request[:30])
        bodies.append(request.partition(b"\r\n\r\n")[2])
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(bodies[-1]), bodies[-1]))

    tape = Tape()
    with server(echo, context) as url:
        client = loop.client(url, tape, tls=Tls(ca=certificates.file))
        for body in (b"small", large, b"again", large):
            assert client.post("/x", data=body).body == body
        assert len(loop.runtime.connections) == 1
        client.close()
    assert bodies == [b"small", large, b"again", large] and tape.outcomes == ["ok"] * 4
    assert (tape.sends, tape.repeats) == (4, 0)


def test_a_stream_over_tls(loop: Loop, certificates: Certificates) -> None:
    def serve(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        connection.sendall(b"3\r\ntwo\r\n0\r\n\r\n")

    with server(serve, certificates.context("127.0.0.1")) as url:
        with loop.client(url, Tape(), tls=Tls(ca=certificates.file)).stream("GET", "/") as reply:
            assert b"".join(chunk.data for chunk in reply) == b"onetwo"
        assert reply.ok


def test_a_server_must_be_who_it_says(loop: Loop, certificates: Certificates) -> None:
    tape = Tape()
    with server(answer, certificates.context("127.0.0.1")) as right:
        loop.client(right, tape).get("/")  # signed by nobody the system knows
        loop.client(right, tape, tls=Tls(verify=False)).get("/")
    with server(answer, certificates.context("other.example")) as wrong:
        loop.client(wrong, tape, tls=Tls(ca=certificates.file)).get("/")
        loop.client(wrong, tape, tls=Tls(ca=certificates.file, server_name="other.example")).get("/")
    assert tape.outcomes == ["tls_untrusted", "ok", "tls_untrusted", "ok"]
    assert tape.sends == 2


def test_the_name_is_told_to_the_server(loop: Loop, certificates: Certificates) -> None:
    names: list[str | None] = []
    context = certificates.context("other.example")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with server(answer, context) as url:
        assert loop.client(url, Tape(), tls=Tls(ca=certificates.file, server_name="other.example")).get("/").ok
        loop.client(url, Tape(), tls=Tls(verify=False)).get("/")
    assert names == ["other.example", None]  # an address is no name


def test_a_client_may_have_to_say_who_it_is(loop: Loop, certificates: Certificates) -> None:
    tape = Tape()
    with server(answer, certificates.context("127.0.0.1", asks=True)) as url:
        loop.client(url, tape, tls=Tls(ca=certificates.file, cert=certificates.of_client())).get("/")
        loop.client(url, tape, tls=Tls(ca=certificates.file)).get("/")
    assert tape.outcomes[0] == "ok" and tape.outcomes[1] in ("tls", "reset", "closed")


def test_what_is_no_tls(loop: Loop, certificates: Certificates) -> None:
    """Each ends with a name, within its time: other protocols, silence, a connection that is cut off."""
    tape = Tape()
    tls = Tls(ca=certificates.file)
    held: list[socket.socket] = []
    for said, closes in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", False), (b"", True), (b"", False)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            # the kernel takes the connection; what is said is there before the client has begun
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            client = loop.client(url, tape, tls=tls, connect_timeout=0.5)

            def accept(listener: socket.socket = listener, said: bytes = said, closes: bool = closes) -> None:
                connection, _ = listener.accept()
                connection.sendall(said)
                connection.recv(65536)
                if closes:
                    hang_up(connection)
                held.append(connection)

            thread = threading.Thread(target=accept, daemon=True)
            thread.start()
            client.get("/")
            thread.join(10)
            held.pop().close()
    assert tape.outcomes == ["tls", "closed", "connect_timeout"] and tape.sends == 0


def test_a_reply_that_ends_with_the_connection_must_be_ended_by_tls(loop: Loop, certificates: Certificates) -> None:
    def serve(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        assert isinstance(connection, ssl.SSLSocket)
        if b"/told" in request:
            connection.unwrap()
        else:
            connection.shutdown(socket.SHUT_RDWR)

    tape = Tape()
    with server(serve, certificates.context("127.0.0.1")) as url:
        client = loop.client(url, tape, tls=Tls(ca=certificates.file))
        assert client.get("/told").body == b"all of it"
        assert client.get("/cut").body == b""
    assert tape.outcomes == ["ok", "short_body"]


def test_files_that_are_missing_are_told_at_once(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for tls in (Tls(ca=tmp_path / "none.pem"), Tls(ca=tmp_path / "empty.pem"), Tls(cert=tmp_path / "empty.pem")):
        with pytest.raises(OSError, match=r"."):
            loop.client("https://127.0.0.1:1", Tape(), tls=tls)
