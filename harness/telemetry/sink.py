"""What the sinks have in common: a small ASGI server of one process, a bounded file, bounded bodies."""

from __future__ import annotations

import argparse
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from harness.telemetry.line_file import LineFile

MAX_FILE = 256 << 20
BACKLOG = 128  # a burst of connections must not wait a second for SYN to be sent again

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Sink = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Refused(Exception):
    """A request that cannot be taken: the status to answer with, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_body(receive: Receive, limit: int, count: Callable[[int], None]) -> bytes:
    """The request's body; `count` is told the size of each part. Raises Refused: hung up, more than `limit` bytes."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the sender hung up")
        part = message.get("body", b"")
        size += len(part)
        count(len(part))
        if size > limit:
            raise Refused(413, f"more than {limit} bytes in one request")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


class Token:
    """What whoever brings data must show, as `Authorization: Bearer TOKEN`; without a token everybody may."""

    def __init__(self, token: str | None = None) -> None:
        self._wanted = None if token is None else f"Bearer {token}".encode()

    def check(self, scope: dict[str, Any]) -> None:
        """Raises Refused 401."""
        if self._wanted is None:
            return
        shown = dict(scope["headers"]).get(b"authorization", b"")
        if not secrets.compare_digest(shown, self._wanted):
            raise Refused(401, "not with this token" if shown else "a token is wanted: Authorization: Bearer TOKEN")


async def answer(send: Send, status: int, body: bytes, kind: bytes, *, close: bool = False) -> None:
    """One whole response; close: the connection is not fit for another request."""
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve_sink(
    prog: str, description: str, make: Callable[[LineFile, Token], Sink], arguments: Sequence[str] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. Port 0 takes a free one; the address is the first line on standard output."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")
    parser.add_argument("--max-bytes", type=int, default=MAX_FILE, help="size at which nothing more is kept")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds what whoever brings data must show")
    options = parser.parse_args(arguments)
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        parser.error(f"--listen {options.listen!r} is not HOST:PORT")
    try:
        listener = socket.create_server((host, int(port)), backlog=BACKLOG)
        token = Token(options.token_file.read_text().strip() if options.token_file is not None else None)
        file = LineFile(options.out, options.max_bytes)
    except OSError as error:
        sys.exit(f"{prog}: {error}")
    sys.stdout.write("listening on {}:{}\n".format(*listener.getsockname()[:2]))
    sys.stdout.flush()
    config = uvicorn.Config(
        make(file, token),
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        file.close()
