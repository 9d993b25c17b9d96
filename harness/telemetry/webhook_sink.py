"""The receiver of Alertmanager's webhooks, a process of its own: `python -m harness.telemetry.webhook_sink --listen
HOST:PORT --out FILE`.

POST /notify/<receiver> takes a notification (Alertmanager's webhook payload, version 4) and is answered when it is in
FILE as one line: receiver (from the path), received_ns (unix), received_mono_ns (CLOCK_MONOTONIC), and the payload as
it came. What is not JSON is answered 400, without the token of --token-file 401, what does not fit into the file any
more 507, so that Alertmanager counts it as failed and tries again; all are counted. GET /healthz is 200 as soon as it
listens; GET /stats is JSON: received, refused, lost, bytes, file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import orjson

from harness.core.clock import mono_ns, wall_ns
from harness.telemetry.line_file import LineFile
from harness.telemetry.sink import Receive, Refused, Send, Token, answer, read_body, serve_sink

PREFIX = "/notify/"
MAX_BODY = 16 << 20
_TEXT, _JSON = b"text/plain", b"application/json"


class WebhookSink:
    """The ASGI application, and what it counts. One event loop, one file."""

    def __init__(self, file: LineFile, token: Token | None = None) -> None:
        self.file = file
        self.token = token or Token()
        self.received = 0  # notifications that stand in the file
        self.refused = 0  # requests that were none
        self.lost = 0  # notifications that could not be kept
        self.bytes = 0  # of request bodies

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if path.startswith(PREFIX) and len(path) > len(PREFIX):
            if method == "POST":
                await self._notify(scope, receive, send)
            else:
                await answer(send, 405, b"", _TEXT)
        elif method in ("GET", "HEAD") and path == "/healthz":
            await answer(send, 200, b"ok\n", _TEXT)
        elif method == "GET" and path == "/stats":
            await answer(send, 200, orjson.dumps(self.stats()), _JSON)
        else:
            await answer(send, 405 if path in ("/healthz", "/stats") else 404, b"", _TEXT)

    def stats(self) -> dict[str, int]:
        """Counts since the start; `file` is the size of the file in bytes."""
        counts = {name: getattr(self, name) for name in ("received", "refused", "lost", "bytes")}
        return {**counts, "file": self.file.size}

    async def _notify(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            self.token.check(scope)
            body = await read_body(receive, MAX_BODY, self._count)
            # The time when the whole notification is here; keeping it must not count.
            wall, mono = wall_ns(), mono_ns()
            payload = orjson.loads(body)
            if not isinstance(payload, dict):
                raise Refused(400, "not a notification: no JSON object")
        except orjson.JSONDecodeError as error:
            await self._refuse(send, Refused(400, f"not JSON: {error}"))
            return
        except Refused as refused:
            await self._refuse(send, refused)
            return
        receiver = scope["path"].removeprefix(PREFIX)  # decoded by the server
        line = {"receiver": receiver, "received_ns": wall, "received_mono_ns": mono, "payload": payload}
        written, why = self.file.append([orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)])
        if written:
            self.received += 1
            await answer(send, 200, b"", _TEXT)
        else:
            self.lost += 1
            await answer(send, 507, why.encode(), _TEXT)

    async def _refuse(self, send: Send, refused: Refused) -> None:
        self.refused += 1
        await answer(send, refused.status, f"{refused}\n".encode(), _TEXT, close=True)

    def _count(self, size: int) -> None:
        self.bytes += size


def main(arguments: Sequence[str] | None = None) -> None:
    serve_sink("webhook_sink", "Keeps Alertmanager's notifications, one JSON line each.", WebhookSink, arguments)


if __name__ == "__main__":
    os.umask(0o022)
    main()
