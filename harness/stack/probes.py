"""Questions to a server that is starting: each answers None until the server does, and never waits long."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

WAIT = 0.5  # seconds for one attempt


def http_get(address: str, path: str, *, below: int = 300) -> bytes | None:
    """The body of a reply with a status under `below`, or None."""
    connection = http.client.HTTPConnection(address, timeout=WAIT)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        reply = connection.getresponse()
        body = reply.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if reply.status < below else None


def url_ready(url: str) -> bool:
    """Whether a GET of `url` succeeds (status below 400)."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return http_get(parts.netloc, path, below=400) is not None


def tcp_ready(address: str) -> bool:
    """Whether something accepts connections at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), WAIT).close()
    except OSError:
        return False
    return True


def tcp_ask(address: str, question: bytes, until: bytes) -> bytes | None:
    """Send `question`, read until `until` was seen or the connection ends; None if there was no answer."""
    host, _, port = address.rpartition(":")
    answer = b""
    try:
        with socket.create_connection((host, int(port)), WAIT) as connection:
            connection.sendall(question)
            while until not in answer and (part := connection.recv(1 << 16)):
                answer += part
    except OSError:
        return None
    return answer if until in answer else None
