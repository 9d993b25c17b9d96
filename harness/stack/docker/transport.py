"""HTTP to a Docker engine over its unix or TCP socket, one connection a request. Standard library only."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from harness.core.errors import HarnessError
from harness.stack.docker.hosts import Host

CONNECT = 5.0  # seconds for a connection
LIMIT = 64 << 20  # bytes of an answer that is read as a whole


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT)
        self.sock.connect(self._path)
        self.sock.settimeout(self.timeout)


class _TcpConnection(http.client.HTTPConnection):
    def __init__(self, host: Host, timeout: float | None) -> None:
        parts = urlsplit(host.url)
        super().__init__(parts.hostname or "localhost", parts.port or (2375 if host.tls is None else 2376), timeout)
        self._tls = host.tls

    def connect(self) -> None:
        self.sock = socket.create_connection((self.host, self.port), CONNECT)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
        self.sock.settimeout(self.timeout)


def _connection(host: Host, timeout: float | None) -> http.client.HTTPConnection:
    if host.url.startswith("unix://"):
        return _UnixConnection(host.url.removeprefix("unix://"), timeout)
    return _TcpConnection(host, timeout)


@contextmanager
def opened(
    host: Host,
    method: str,
    path: str,
    body: object = None,
    *,
    timeout: float | None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """The answer to one request, to be read as it comes. timeout: seconds of silence, None: any.

    body: None, bytes (a tar archive) or what JSON can say. Raises HarnessError engine-lost when the engine cannot be
    asked, is silent, or speaks no HTTP; the same while its answer is read in this block.
    """
    sent = dict(headers or {})
    data: bytes | None = None
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/x-tar" if isinstance(body, bytes) else "application/json")
    connection = _connection(host, timeout)
    try:
        connection.request(method, path, data, sent)
        yield connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise lost(host, f"{method} {path}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def lost(host: Host, how: str) -> HarnessError:
    return HarnessError(
        "engine-lost",
        f"the Docker engine at {host.url} did not answer {how}",
        "See whether it runs (docker version) and what its log says.",
    )


def whole(host: Host, answer: http.client.HTTPResponse) -> Any:
    """An answer read to its end: JSON as what it says, other text as str, nothing as None. Raises HarnessError
    engine-lost for JSON that is none and for an answer too long to be one."""
    data = answer.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise lost(host, f"with an answer that ends: over {LIMIT} bytes")
    if not data:
        return None
    if "json" not in (answer.getheader("Content-Type") or ""):
        return data.decode(errors="replace")
    try:
        return json.loads(data)
    except ValueError as error:
        raise lost(host, f"in JSON: {error}") from error
