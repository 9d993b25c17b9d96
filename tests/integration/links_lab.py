"""A bare proxy with two links and a small server behind each: what the tests of link faults use."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.faults import (
    Bandwidth,
    Blackhole,
    ConnectionLimit,
    Corrupt,
    HalfOpen,
    Latency,
    LinkFault,
    Reset,
    SlowClose,
)
from harness.faults.waiting import wait_for
from harness.stack.links import Links
from harness.stack.ports import PortBlock

HOST = "127.0.0.1"
PATIENCE = 20.0
A = "a->echo"
EVERY: dict[str, Callable[[Links], LinkFault]] = {
    "latency": lambda links: Latency(links, A, "30ms", expect_traffic=False),
    "latency-both": lambda links: Latency(links, A, "30ms", jitter="30ms", direction="both", expect_traffic=False),
    "latency-long": lambda links: Latency(links, A, "1m", expect_traffic=False),
    "bandwidth": lambda links: Bandwidth(links, A, 100_000, expect_traffic=False),
    "bandwidth-up": lambda links: Bandwidth(links, A, 2e7, direction="up", expect_traffic=False),
    "reset": lambda links: Reset(links, A, expect_traffic=False),
    "reset-open": lambda links: Reset(links, A, new=False, expect_traffic=False),
    "reset-new": lambda links: Reset(links, A, open=False, expect_traffic=False),
    "blackhole": lambda links: Blackhole(links, A, expect_traffic=False),
    "blackhole-up": lambda links: Blackhole(links, A, direction="up", expect_traffic=False),
    "blackhole-down": lambda links: Blackhole(links, A, direction="down", expect_traffic=False),
    "slow-close": lambda links: SlowClose(links, A, "50ms", expect_traffic=False),
    "slow-close-down": lambda links: SlowClose(links, A, "50ms", direction="down", expect_traffic=False),
    "half-open": lambda links: HalfOpen(links, A, expect_traffic=False),
    "half-open-down": lambda links: HalfOpen(links, A, direction="down", expect_traffic=False),
    "corrupt": lambda links: Corrupt(links, A, 1e-4, expect_traffic=False),
    "connection-limit": lambda links: ConnectionLimit(links, A, 3, expect_traffic=False),
}


class EchoServer:
    """Sends back what it gets; closes when the client does, or when it gets a line `close`. It counts its clients."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server((HOST, port), backlog=128)
        self.ends: list[str] = []  # how its connections ended: fin | reset
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1 << 16):
                    if data == b"close\n":
                        break
                    connection.sendall(data)
                self.ends.append("fin")
            except OSError:
                self.ends.append("reset")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Lab:
    """A proxy process with the links `a->echo` and `b->echo`."""

    def __init__(self, directory: Path) -> None:
        self.block = PortBlock.reserve(4)
        self.near = {"a->echo": self.block.take(), "b->echo": self.block.take()}
        far = {name: self.block.take() for name in self.near}
        self.servers = {name: EchoServer(port) for name, port in far.items()}
        self.links = Links(directory / "control", self.near)
        config, ready = directory / "links.json", directory / "ready"
        told = {
            "links": {name: {"listen": self.near[name], "to": far[name]} for name in far},
            "ready": str(ready),
            "control": str(self.links.control),
        }
        config.write_text(json.dumps(told))
        self.process = subprocess.Popen([sys.executable, "-m", "harness.stack.proxy", str(config)])
        until = time.monotonic() + PATIENCE
        while not ready.exists():
            assert self.process.poll() is None and time.monotonic() < until
            time.sleep(0.01)

    def connect(self, link: str = "a->echo") -> socket.socket:
        client = socket.create_connection((HOST, self.near[link]), PATIENCE)
        client.settimeout(PATIENCE)
        return client

    def in_force(self) -> list[str]:
        """The faults that the proxy has, by name."""
        control = self.links.connect()
        try:
            return [one["fault"] for one in control.ask("faults")["faults"]]
        finally:
            control.close()

    def check_clean(self) -> None:
        """No fault is left, the link works, and no connection on it is open."""
        assert self.in_force() == []
        with self.connect() as client:
            assert ask(client) == b"hello"
        assert wait_for(lambda: self.open_connections() == 0), "connections are left"

    def open_connections(self, link: str = A) -> int:
        """Those of others than our own probes."""
        control = self.links.connect()
        try:
            found: int = control.ask("links")["links"][link]["open"]
            return found
        finally:
            control.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for server in self.servers.values():
            server.close()
        self.block.close()


def read(client: socket.socket, length: int) -> bytes:
    """Exactly so much, or what came until the end."""
    got = bytearray()
    while len(got) < length and (part := client.recv(length - len(got))):
        got += part
    return bytes(got)


def ask(client: socket.socket, word: bytes = b"hello") -> bytes:
    client.sendall(word)
    return read(client, len(word))


def seconds_to_ask(client: socket.socket) -> float:
    began = time.monotonic()
    assert ask(client) == b"hello"
    return time.monotonic() - began
