"""What a request came to."""

from __future__ import annotations

from typing import Any

import orjson

# every name that a request over HTTP can end under, but for http_<status>; docs/load-http.md says what each means
OUTCOMES = (
    "refused",
    "reset",
    "closed",
    "unresolved",
    "unreachable",
    "client_limit",
    "connect_timeout",
    "timeout",
    "tls",
    "tls_untrusted",
    "short_body",
    "bad_http",
    "too_large",
    "head_too_large",
    "bad_encoding",
    "bad_redirect",
    "redirect_loop",
    "too_many_redirects",
    "abandoned",
)


class Reply:
    """What came back, or why nothing did.

    error: None, or the name of an outcome: docs/load-http.md lists them all; status: 0, and body empty, without a whole
    reply;
    latency_ns: from the scheduled time if this was the first request of its task, else from the call, to the last byte.
    """

    __slots__ = ("_head", "_headers", "body", "error", "latency_ns", "status")

    def __init__(self, status: int, head: bytes, body: bytes, error: str | None, latency_ns: int) -> None:
        self.status = status
        self.body = body
        self.error = error
        self.latency_ns = latency_ns
        self._head = head
        self._headers: dict[str, str] | None = None

    @property
    def ok(self) -> bool:
        """A whole reply with a status below 400."""
        return self.error is None

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body)

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; repeated ones joined by a comma. Parsed on first use: most scenarios never look."""
        if self._headers is None:
            self._headers = parse_head(self._head)
        return self._headers

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is not."""
        return orjson.loads(self.body)

    def __repr__(self) -> str:
        return f"<Reply {self.error or self.status}, {len(self.body)} bytes, {self.latency_ns / 1e6:.1f} ms>"


def split_head(raw: bytes) -> tuple[bytes, bytes]:
    """The head of the final reply in `raw`, and what follows it; heads of replies 1xx that come before are skipped."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    while head[8:10] == b" 1" and rest:  # 100, 103: not the reply
        head, _, rest = rest.partition(b"\r\n\r\n")
    return head, rest


def parse_head(raw: bytes) -> dict[str, str]:
    """The header fields of the final reply in `raw`, which begins with a status line and may go on after the head."""
    found: dict[str, str] = {}
    name = ""
    for line in split_head(raw)[0].decode("latin1").split("\r\n")[1:]:
        if line[:1] in (" ", "\t") and name:  # a folded line continues the one before
            found[name] += " " + line.strip()
            continue
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
