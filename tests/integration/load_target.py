"""A server for the tests of load, in a process of its own: it counts what reaches it, and misbehaves on request.

    python -m tests.integration.load_target [ADDRESS]    says its port on standard output, ends with standard input

Each path is a behaviour; /counts tells how many whole requests each path has had, and is not counted itself.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Answer: 42\r\nContent-Length: 11\r\n\r\n"
BODY = b'{"ok":true}'
HINTS = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Answer: 41\r\n\r\n"
LARGE = b"x" * 3_000_000

REPLIES = {  # path -> (what is written, whether the connection is then closed)
    "/ok": (OK + BODY, False),
    "/503": (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", False),
    "/204": (b"HTTP/1.1 204 No Content\r\nX-Answer: 42\r\n\r\n", False),
    "/hints": (HINTS + OK + BODY, False),
    "/chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", False),
    "/large": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE, False),
    "/until-end": (b"HTTP/1.1 200 OK\r\nX-Answer: 42\r\n\r\n" + BODY, True),
    "/close": (OK.replace(b"X-A", b"Connection: close\r\nX-A") + BODY, True),
    "/close-unsaid": (OK + BODY, True),
    "/half": (OK + BODY[:5], True),
    "/half-head": (OK[:30], True),
    "/half-chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", True),
    "/too-long": (OK + BODY + b"and more", False),
    "/two": (OK + BODY + OK + BODY, False),
    "/garbage": (b"220 ESMTP ready\r\n\r\n", False),
    "/bad-length": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", False),
    "/bad-chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False),
    "/upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", False),
    "/nothing": (b"", True),
    "/hang": (b"", False),
}


class Server:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        armed = False
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.split(b" ", 2)
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                if armed:
                    break  # the one after /arm finds the connection closed
                if not await self.answer(method.decode(), path.decode().partition("?")[0], writer):
                    break
                armed = path == b"/arm"
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, method: str, path: str, writer: asyncio.StreamWriter) -> bool:
        """Returns whether the connection stays."""
        if path == "/counts":
            body = json.dumps({**self.counts, "connections": self.connections}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
            return False
        self.counts[path] += 1
        if method == "HEAD":
            writer.write(OK)  # with a length, and no body
            return True
        if path == "/reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        if path == "/late":
            await asyncio.sleep(0.05)
        if path in ("/pieces", "/loris"):
            for at in range(len(OK + BODY)):
                writer.write((OK + BODY)[at : at + 1])
                await writer.drain()
                await asyncio.sleep(0.0005 if path == "/pieces" else 0.2)
            return True
        written, closes = REPLIES.get(path, REPLIES["/ok"])
        if path == "/close-unsaid":  # the end goes out with the reply: the next request never comes in between
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        writer.write(written)
        await writer.drain()
        return not closes


async def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    served = await asyncio.start_server(Server().serve, address, 0, backlog=1024)
    print(served.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await ended


class Target:
    """The server as a test holds it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.host = f"http://127.0.0.1:{port}"

    def counts(self) -> dict[str, int]:
        """Requests by path that it has read to the end, and `connections`."""
        with urllib.request.urlopen(f"{self.host}/counts", timeout=10) as reply:
            found: dict[str, int] = json.load(reply)
        return found


@contextmanager
def load_target() -> Iterator[Target]:
    """A target that ends with the block, frozen or not."""
    command = [sys.executable, "-m", "tests.integration.load_target"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Target(process, int(process.stdout.readline()))
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main())


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether `condition` holds within that time."""
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return held
