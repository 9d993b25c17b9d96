"""Encoding of HTTP/1.1 requests: what can be said once is encoded once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

_REMEMBERED = 4096
_SAFE = "/?&=:@!$'()*+,;%~-._#[]"
_AGENT = "slo-harness"


class Target:
    """A base URL, taken apart. Raises ValueError for what cannot be one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme != "http":
            raise ValueError(f"{url!r}: only http:// is supported, not {parts.scheme}://")
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        self.host = parts.hostname
        self.port = parts.port or 80
        self.netloc = parts.netloc.rpartition("@")[2]
        self.base = parts.path.rstrip("/")


class Encoder:
    """Requests to one target as bytes. trace: send a W3C traceparent of its own, sampled, with each."""

    def __init__(self, target: Target, *, trace: bool) -> None:
        self._target = target
        self._fixed = f"Host: {target.netloc}\r\nUser-Agent: {_AGENT}\r\nAccept: */*\r\n".encode("latin1")
        self._known: dict[tuple[str, str], bytes] = {}
        # seeded by the system, not by the plan: equal seeds must not give equal trace ids
        self._bits: Callable[[int], int] | None = random.Random().getrandbits if trace else None
        self._trace_id: int | None = None

    @contextmanager
    def one_trace(self) -> Iterator[str]:
        """Requests encoded in the block share a trace id, which it gives as 32 hexadecimal digits; blocks nest."""
        before = self._trace_id
        bits = self._bits or random.Random().getrandbits
        self._trace_id = before or bits(128) | 1
        try:
            yield f"{self._trace_id:032x}"
        finally:
            self._trace_id = before

    def encode(
        self, method: str, path: str, json: Any, data: bytes | str | None, headers: Mapping[str, str] | None
    ) -> bytes:
        """One request, head and body. Raises ValueError for a header that would break out of its line, TypeError for
        JSON that cannot be encoded."""
        message = self._known.get((method, path)) or self._start(method, path)
        if self._bits is not None:
            trace_id = self._trace_id or self._bits(128) | 1
            message += b"traceparent: 00-%032x-%016x-01\r\n" % (trace_id, self._bits(64) | 1)
        typed = False
        if headers:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            if lines.count("\r") != len(headers) or lines.count("\n") != len(headers):
                raise ValueError("a header holds a line break")
            message += lines.encode("latin1")
            typed = any(name.lower() == "content-type" for name in headers)
        if json is not None:
            data = orjson.dumps(json, option=orjson.OPT_SERIALIZE_NUMPY)
            if not typed:
                message += b"Content-Type: application/json\r\n"
        elif data is None:
            return message + (b"\r\n" if method in ("GET", "HEAD", "DELETE") else b"Content-Length: 0\r\n\r\n")
        body = data.encode() if isinstance(data, str) else data
        return b"%bContent-Length: %d\r\n\r\n%b" % (message, len(body), body)

    def _start(self, method: str, path: str) -> bytes:
        if not method.isalpha() or not path.startswith("/"):
            raise ValueError(f"{method} {path}: a path begins with /")
        line = f"{method} {self._target.base}{quote(path, safe=_SAFE)} HTTP/1.1\r\n"
        message = line.encode("ascii") + self._fixed
        if len(self._known) < _REMEMBERED:
            self._known[(method, path)] = message
        return message
