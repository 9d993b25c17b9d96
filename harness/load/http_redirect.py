"""Where a redirect leads."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from harness.load.http_message import Target

_PRIVATE = ("authorization", "cookie", "proxy-authorization")


class Hop:
    """The request that a reply asks for. Raises ValueError when it asks for none that can or should be made: no
    location, another protocol, or from https to http."""

    def __init__(self, method: str, url: str, status: int, location: str) -> None:
        if not location:
            raise ValueError("no location")
        self.url = urljoin(url, location).partition("#")[0]
        self.target = Target(self.url)
        parts = urlsplit(self.url)
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if urlsplit(url).scheme == "https" and not self.target.tls:
            raise ValueError("from https to http")
        # a 303 asks for a GET, and so do 301 and 302 as everybody has come to understand them
        self.keeps_body = status in (307, 308)
        self.method = method if self.keeps_body or method == "HEAD" else "GET"

    def headers(self, given: Mapping[str, str] | None, before: Target) -> dict[str, str]:
        """Those of `given` that go along: nothing secret to another server, nothing of a body without one."""
        away = _PRIVATE if self.target.origin != before.origin else ()
        lost = () if self.keeps_body else ("content-type", "content-length")
        return {name: value for name, value in (given or {}).items() if name.lower() not in (*away, *lost)}


def leads_on(status: int) -> bool:
    """A redirect, and not another reply 3xx such as 304."""
    return status in (301, 302, 303, 307, 308)
