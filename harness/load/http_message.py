"""Encoding of HTTP/1.1 requests: what can be said once is encoded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

_SAFE = "/?&=:@!$'()*+,;%~-._#[]"
_AGENT = "slo-harness"
_DUMPS, _OPTION = orjson.dumps, orjson.OPT_SERIALIZE_NUMPY
_AT_ONCE = 64  # trace ids that are drawn together
_PORTS = {"http": 80, "https": 443}


class Target:
    """A base URL, taken apart. Raises ValueError for what cannot be one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in _PORTS:
            raise ValueError(f"{url!r}: only http:// and https:// are supported, not {parts.scheme}://")
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        self.scheme = parts.scheme
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or _PORTS[parts.scheme]
        self.netloc = parts.netloc.rpartition("@")[2]
        self.base = parts.path.rstrip("/")

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


class Encoder:
    """Requests to one target as bytes. trace: send a W3C traceparent of its own, sampled, with each."""

    def __init__(self, target: Target, *, trace: bool) -> None:
        self._target = target
        self._fixed = f"Host: {target.netloc}\r\nUser-Agent: {_AGENT}\r\nAccept: */*\r\n".encode("latin1")
        # the header that makes the next request part of a trace, or nothing
        self.trace_line: Callable[[], bytes] = _trace_lines().__next__ if trace else bytes
        self._trace_id: int | None = None
        self._trace = trace

    @contextmanager
    def one_trace(self) -> Iterator[str]:
        """Requests encoded in the block share a trace id, which it gives as 32 hexadecimal digits; blocks nest."""
        before, line = self._trace_id, self.trace_line
        trace_id = self._trace_id = before or int.from_bytes(os.urandom(16)) | 1
        if self._trace:
            self.trace_line = lambda: b"traceparent: 00-%032x-%b-01\r\n" % (trace_id, os.urandom(8).hex().encode())
        try:
            yield f"{trace_id:032x}"
        finally:
            self._trace_id, self.trace_line = before, line

    def head(self, method: str, path: str, headers: Mapping[str, str] | None = None, json: Any = None) -> Head:
        """What all requests of this kind have in common; json: the body of those that bring none of their own. Raises
        ValueError for what would break out of its line."""
        if not method.isalpha() or not path.startswith("/"):
            raise ValueError(f"{method} {path}: a path begins with /")
        start = f"{method} {self._target.base}{quote(path, safe=_SAFE)} HTTP/1.1\r\n".encode("ascii") + self._fixed
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        if lines.count("\r") != len(headers or {}) or lines.count("\n") != len(headers or {}):
            raise ValueError("a header holds a line break")
        typed = any(name.lower() == "content-type" for name in headers or {})
        bodiless = method in ("GET", "HEAD", "DELETE")
        return Head(self, start + lines.encode("latin1"), typed, bodiless, json)


class Head:
    """What requests of one method, path and headers begin with."""

    __slots__ = ("_encoder", "_end", "_head", "_start", "_typed")

    def __init__(self, encoder: Encoder, head: bytes, typed: bool, bodiless: bool, json: Any) -> None:
        self._encoder = encoder
        self._head = head
        self._typed = head if typed else head + b"Content-Type: application/json\r\n"
        self._start, self._end = self._head, b"\r\n" if bodiless else b"Content-Length: 0\r\n\r\n"
        if json is not None:
            body = orjson.dumps(json, option=orjson.OPT_SERIALIZE_NUMPY)
            self._start, self._end = self._typed, b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    def message(self, json: Any = None, data: bytes | str | None = None) -> bytes:
        """One request, head and body. Raises TypeError for JSON that cannot be encoded."""
        if json is not None:
            body = _DUMPS(json, option=_OPTION)
            return b"%b%bContent-Length: %d\r\n\r\n%b" % (self._typed, self._encoder.trace_line(), len(body), body)
        if data is None:
            return b"%b%b%b" % (self._start, self._encoder.trace_line(), self._end)
        body = data.encode() if isinstance(data, str) else data
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (self._head, self._encoder.trace_line(), len(body), body)


def _trace_lines() -> Iterator[bytes]:
    """A trace of its own for each request; drawn from the system, not from the plan's seed: equal seeds must not give
    equal trace ids."""
    while True:
        digits = os.urandom(24 * _AT_ONCE).hex().encode()
        for at in range(0, len(digits), 48):
            yield b"traceparent: 00-%b-%b-01\r\n" % (digits[at : at + 32], digits[at + 32 : at + 48])
