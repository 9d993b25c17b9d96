"""The links' proxy at byte level: what goes in comes out, ends are passed on, nothing piles up."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.stack import procfs
from harness.stack.ports import PortBlock

MIB = 1 << 20
CHUNK = bytes(range(256)) * 1024


class Upstream:
    """A server that hands each connection to `serve` in a thread."""

    def __init__(self, port: int, serve: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._serve = serve
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(30)
                self._serve(connection)
        except (OSError, AssertionError) as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._listener.close()
        if self.error is not None:
            raise self.error


class Proxy:
    def __init__(self, directory: Path, block: PortBlock) -> None:
        self.near, self.far = block.take(), block.take()
        self.config, self.ready = directory / "links.json", directory / "ready"
        links = {"client->server": {"listen": self.near, "to": self.far}}
        self.config.write_text(json.dumps({"links": links, "ready": str(self.ready)}))
        self.process = subprocess.Popen([sys.executable, "-m", "harness.stack.proxy", str(self.config)])
        until = time.monotonic() + 20
        while not self.ready.exists():
            assert self.process.poll() is None and time.monotonic() < until
            time.sleep(0.01)

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.near), 10)
        client.settimeout(30)
        return client


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    block = PortBlock.reserve(2)
    one = Proxy(tmp_path_factory.mktemp("proxy"), block)
    yield one
    one.process.kill()
    one.process.wait()
    block.close()


def read_all(connection: socket.socket) -> tuple[int, str]:
    """Length and SHA-256 of what comes until the end."""
    digest, length = hashlib.sha256(), 0
    while part := connection.recv(MIB):
        digest.update(part)
        length += len(part)
    return length, digest.hexdigest()


def send(connection: socket.socket, chunks: int) -> None:
    for _ in range(chunks):
        connection.sendall(CHUNK)
    connection.shutdown(socket.SHUT_WR)


def test_a_hundred_megabytes_each_way_at_once_unchanged(proxy: Proxy) -> None:
    chunks = 100 * MIB // len(CHUNK)
    expected = (100 * MIB, hashlib.sha256(CHUNK * chunks).hexdigest())
    got: list[tuple[int, str]] = []

    def serve(connection: socket.socket) -> None:
        writer = threading.Thread(target=send, args=(connection, chunks))
        writer.start()
        got.append(read_all(connection))
        writer.join()

    upstream = Upstream(proxy.far, serve)
    with proxy.connect() as client:
        writer = threading.Thread(target=send, args=(client, chunks))
        writer.start()
        got.append(read_all(client))
        writer.join()
    upstream.join()
    assert got == [expected, expected]


def test_a_half_close_is_passed_on_and_the_other_direction_stays_open(proxy: Proxy) -> None:
    def serve(connection: socket.socket) -> None:
        question = b""
        while part := connection.recv(100):  # ends with the client's half-close
            question += part
        connection.sendall(question[::-1])

    upstream = Upstream(proxy.far, serve)
    with proxy.connect() as client:
        client.sendall(b"stressed")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"desserts"
        assert client.recv(100) == b""
    upstream.join()


def test_a_half_close_of_the_server_leaves_the_client_writing(proxy: Proxy) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"late"
        assert connection.recv(100) == b""

    upstream = Upstream(proxy.far, serve)
    with proxy.connect() as client:
        assert client.recv(100) == b"hello"
        assert client.recv(100) == b""
        client.sendall(b"late")
    upstream.join()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_reset_of_the_server_reaches_the_client(proxy: Proxy) -> None:
    def serve(connection: socket.socket) -> None:
        assert connection.recv(100) == b"x"
        reset(connection)

    upstream = Upstream(proxy.far, serve)
    with proxy.connect() as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    upstream.join()


def test_a_reset_of_the_client_reaches_the_server(proxy: Proxy) -> None:
    seen: list[type[BaseException]] = []

    def serve(connection: socket.socket) -> None:
        assert connection.recv(100) == b"x"
        connection.sendall(b"y")
        try:
            connection.recv(100)
        except ConnectionResetError as error:
            seen.append(type(error))

    upstream = Upstream(proxy.far, serve)
    client = proxy.connect()
    client.sendall(b"x")
    assert client.recv(100) == b"y"
    reset(client)
    upstream.join()
    assert seen == [ConnectionResetError]


def test_an_upstream_that_is_not_there_is_a_reset_and_no_wait(proxy: Proxy) -> None:
    with pytest.raises(ConnectionResetError), proxy.connect() as client:
        client.sendall(b"anyone?")
        assert client.recv(100) != b"", "closed in order, as if someone had answered"
        raise AssertionError("an answer from nobody")


def test_the_upstream_is_dialled_anew_for_each_connection(proxy: Proxy) -> None:
    for word in (b"first", b"second"):
        upstream = Upstream(proxy.far, lambda connection, word=word: connection.sendall(word))  # type: ignore[misc]
        with proxy.connect() as client:
            assert client.recv(100) == word
        upstream.join()


def test_a_slow_reader_slows_its_writer_and_nothing_piles_up(proxy: Proxy) -> None:
    go_on = threading.Event()
    got: list[tuple[int, str]] = []

    def serve(connection: socket.socket) -> None:
        go_on.wait(30)
        got.append(read_all(connection))

    upstream = Upstream(proxy.far, serve)
    before = procfs.memory_bytes(proxy.process.pid)
    sent = 0
    with proxy.connect() as client:
        client.settimeout(0.5)
        try:
            while sent < 512 * MIB:
                sent += client.send(CHUNK)
        except TimeoutError:
            pass
        assert sent < 64 * MIB, "the writer was never slowed"
        assert procfs.memory_bytes(proxy.process.pid) - before < 32 * MIB
        go_on.set()
        client.settimeout(30)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    upstream.join()
    assert got[0][0] == sent


def test_many_connections_at_once_stay_apart(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", proxy.far), backlog=256) as listener:
        clients = [proxy.connect() for _ in range(100)]
        for number, client in enumerate(clients):
            client.sendall(number.to_bytes(4, "big"))
        servers = [listener.accept()[0] for _ in clients]
        for server in servers:
            server.settimeout(30)
            server.sendall(server.recv(4))
        assert [int.from_bytes(client.recv(4), "big") for client in clients] == list(range(100))
        for one in (*clients, *servers):
            one.close()


def test_nothing_is_lost_however_soon_either_side_speaks(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", proxy.far), backlog=256) as listener:
        listener.settimeout(30)
        for number in range(200):
            client = proxy.connect()
            client.sendall(b"question %d" % number)
            client.shutdown(socket.SHUT_WR)  # all of it may arrive before the upstream is dialled
            server = listener.accept()[0]
            server.settimeout(30)
            server.sendall(b"greeting")  # and this before the two are joined
            server.shutdown(socket.SHUT_WR)
            for end, words in ((server, b"question %d" % number), (client, b"greeting")):
                got = b""
                while part := end.recv(100):
                    got += part
                assert got == words
                end.close()
