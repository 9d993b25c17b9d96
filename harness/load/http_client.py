"""A sequential keep-alive HTTP/1.1 client. Under Locust its sockets are gevent's, so thousands can wait at once."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import httptools
import orjson

from harness.load.http_reply import Reply, ReplyParser

CONNECT_TIMEOUT = 5.0


class HttpClient:
    """Requests of one user. Every request ends in a Reply, whatever happened; nothing is retried or redirected."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sink: Any,
        due: Callable[[], int],
        base: str = "",
        timeout: float = 10.0,
        trace: bool = True,
    ) -> None:
        self._address = (host, port)
        self._base = base
        self._timeout = timeout
        self._trace = trace
        self._sink = sink
        self._due = due
        self._socket: socket.socket | None = None
        self._fixed = f"Host: {host}:{port}\r\nUser-Agent: slo-harness\r\nAccept: */*\r\n".encode("latin1")

    def get(self, path: str, **options: Any) -> Reply:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Reply:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Reply:
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> Reply:
        return self.request("DELETE", path, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Send and read to the end. json: encoded as the body; name: what it is recorded under (default: the path)."""
        due = self._due()
        start = time.monotonic_ns()
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        message = self._encode(method, path, json, data, headers)
        label = name or path
        parser = ReplyParser(method)
        error = self._exchange(message, parser, deadline, label, due)
        end = time.monotonic_ns()
        if error is not None or not parser.keep_alive:
            self.close()
        if error is None and parser.status >= 400:
            error = f"http_{parser.status}"
        self._sink.finished_request(label, due, start, end, error or "ok")
        return Reply(parser.status if parser.done else 0, parser.body, parser.headers, error, end - due)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _encode(
        self, method: str, path: str, json: Any, data: bytes | None, headers: Mapping[str, str] | None
    ) -> bytes:
        head = [f"{method} {self._base}{path} HTTP/1.1\r\n".encode("latin1"), self._fixed]
        if self._trace:
            ids = os.urandom(24).hex()
            head.append(f"traceparent: 00-{ids[:32]}-{ids[32:]}-01\r\n".encode())
        head += [f"{key}: {value}\r\n".encode("latin1") for key, value in (headers or {}).items()]
        if json is not None:
            data = orjson.dumps(json)
            head.append(b"Content-Type: application/json\r\n")
        if data is not None or method in ("POST", "PUT"):
            head.append(b"Content-Length: %d\r\n" % len(data or b""))
        return b"".join(head) + b"\r\n" + (data or b"")

    def _exchange(self, message: bytes, parser: ReplyParser, deadline: float, label: str, due: int) -> str | None:
        """The kind of error, or None when a whole reply was read."""
        try:
            connection = self._connect(deadline)
        except TimeoutError:
            return "connect_timeout"
        except OSError as error:
            return "refused" if isinstance(error, ConnectionRefusedError) else "unreachable"
        try:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            connection.sendall(message)
            self._sink.sent_request(label, due)
            while not parser.done:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                if received := connection.recv(65536):
                    parser.feed(received)
                elif not parser.ended():
                    return "short_body" if parser.begun else "closed"
        except TimeoutError:
            return "timeout"
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        except OSError:
            return "unreachable"
        except httptools.HttpParserError:
            return "bad_http"
        return None

    def _connect(self, deadline: float) -> socket.socket:
        """The open connection, or a new one if there is none or the server has closed it meanwhile."""
        if self._socket is not None:
            self._socket.setblocking(False)
            try:
                stale = self._socket.recv(1, socket.MSG_PEEK) is not None  # b'' closed; a byte nobody asked for
            except BlockingIOError:
                stale = False
            except OSError:
                stale = True
            if not stale:
                return self._socket
            self.close()
        left = max(0.001, min(CONNECT_TIMEOUT, deadline - time.monotonic()))
        self._socket = socket.create_connection(self._address, left)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket
