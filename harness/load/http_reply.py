"""One HTTP/1.1 reply being read: httptools parses, this keeps the pieces and knows when it is whole."""

from __future__ import annotations

from typing import Any

import httptools
import orjson


class ReplyParser:
    """Feed it bytes until `done`. Raises httptools.HttpParserError on what is not HTTP."""

    def __init__(self, method: str) -> None:
        self._head_only = method == "HEAD"
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._sized = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.begun = False
        self.done = False
        self.keep_alive = True

    def feed(self, data: bytes) -> None:
        self.begun = True
        self._parser.feed_data(data)

    def ended(self) -> bool:
        """The peer closed: True if that was a proper end of this reply (a body that lasts until the end)."""
        self.keep_alive = False
        if not self.done and self.status >= 200 and not self._sized:
            self.done = True
        return self.done

    @property
    def body(self) -> bytes:
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def on_message_begin(self) -> None:
        self._chunks, self.headers, self._sized = [], [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))
        self._sized = self._sized or name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self._head_only and self.status >= 200:
            self.done, self.keep_alive = True, False  # the parser would wait for the body that HEAD does not have

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self.status >= 200 or self.status == 101:
            self.keep_alive = bool(self._parser.should_keep_alive())
            self.done = True


class Reply:
    """What came back. error: None, or refused | connect_timeout | timeout | reset | closed | short_body | bad_http
    | http_<status>; status: 0 if no reply came; latency_ns: from the scheduled time."""

    __slots__ = ("_headers", "body", "error", "latency_ns", "status")

    def __init__(
        self, status: int, body: bytes, headers: list[tuple[bytes, bytes]], error: str | None, latency_ns: int
    ) -> None:
        self.status = status
        self.body = body
        self.error = error
        self.latency_ns = latency_ns
        self._headers = headers

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; of a repeated one the last."""
        return {name.decode("latin1").lower(): value.decode("latin1") for name, value in self._headers}

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is not."""
        return orjson.loads(self.body)
