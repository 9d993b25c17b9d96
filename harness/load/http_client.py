"""A sequential keep-alive HTTP/1.1 client: every request ends in a Reply and in one sample, whatever happened."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from harness.load.http_connection import Connection, Runtime
from harness.load.http_message import Encoder, Target
from harness.load.reply import Reply
from harness.load.sink import Channel, Moment

CONNECT_TIMEOUT_NS = 5_000_000_000
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})


class HttpClient:
    """Requests of one user on one connection, one at a time. Nothing is redirected; nothing is retried but a request
    that met a connection which the server had closed while it was idle, and only if it cannot have been carried out or
    may be carried out twice.

    channel: finds where a method and name are recorded; moment: called once a request; timeout: seconds for a whole
    reply, connecting included.
    """

    def __init__(
        self,
        target: Target,
        runtime: Runtime,
        *,
        channel: Callable[[str, str], Channel],
        moment: Callable[[int], Moment],
        timeout: float = 10.0,
        trace: bool = True,
    ) -> None:
        self._address = (target.host, target.port)
        self._encoder = Encoder(target, trace=trace)
        self._runtime = runtime
        self._channel = channel
        self._moment = moment
        self._timeout_ns = round(timeout * 1e9)
        self._connection: Connection | None = None

    def get(
        self,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        return self.request("GET", path, json=json, data=data, headers=headers, name=name, timeout=timeout)

    def post(
        self,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        return self.request("POST", path, json=json, data=data, headers=headers, name=name, timeout=timeout)

    def put(
        self,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        return self.request("PUT", path, json=json, data=data, headers=headers, name=name, timeout=timeout)

    def delete(
        self,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        return self.request("DELETE", path, json=json, data=data, headers=headers, name=name, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Send and read to the end. path: begins with /, may hold a query; json: encoded as the body, instead of data;
        name: what it is recorded under (default: the path without its query); timeout: seconds, instead of the user's.

        Raises ValueError or TypeError for what cannot be sent; no failure of the network or the server raises.
        """
        start = time.monotonic_ns()
        message = self._encoder.encode(method, path, json, data, headers)
        channel = self._channel(method, name or path.partition("?")[0])
        moment = self._moment(start)
        deadline = start + (self._timeout_ns if timeout is None else round(timeout * 1e9))
        error, connection = self._exchange(method, message, deadline, channel, moment)
        end = connection.end_ns if connection is not None and connection.end_ns else time.monotonic_ns()
        if connection is None or error is not None:  # no whole reply
            reply = Reply(0, b"", b"", error, end - moment.since_ns)
        else:
            status = connection.status
            failed = f"http_{status}" if status >= 400 else None
            reply = Reply(status, connection.head, connection.body, failed, end - moment.since_ns)
        channel.finished(moment, start, end, reply)
        return reply

    def one_trace(self) -> AbstractContextManager[str]:
        """`with client.one_trace() as trace_id:` - the requests made in the block belong to one trace."""
        return self._encoder.one_trace()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, method: str, message: bytes, deadline: int, channel: Channel, moment: Moment
    ) -> tuple[str | None, Connection | None]:
        if self._connection is not None and not self._connection.still_open():
            self.close()
        reused = self._connection is not None

        def count() -> None:
            channel.sent(moment)

        error, connection = self._once(method, message, deadline, count)
        if reused and connection is not None and error in ("closed", "reset") and not connection.begun:
            self.close()
            if not connection.written:  # closed before a byte went out: this is the first attempt
                error, connection = self._once(method, message, deadline, count)
            elif method in _IDEMPOTENT:
                channel.retried(moment)
                error, connection = self._once(method, message, deadline, None)
        if connection is not None and connection.over:
            self.close()
        return error, connection

    def _once(
        self, method: str, message: bytes, deadline: int, on_written: Callable[[], None] | None
    ) -> tuple[str | None, Connection | None]:
        try:
            connection = self._connection = self._connection or self._connect(deadline)
        except TimeoutError:
            return "connect_timeout", None
        except ConnectionRefusedError:
            return "refused", None
        except ConnectionResetError:
            return "reset", None
        except OSError:  # no route, no such name
            return "unreachable", None
        try:
            return connection.exchange(message, method == "HEAD", deadline, on_written), connection
        except BaseException:  # the user was stopped in the middle of it: this connection's state is unknown
            self.close()
            raise

    def _connect(self, deadline: int) -> Connection:
        left = max(1_000_000, min(CONNECT_TIMEOUT_NS, deadline - time.monotonic_ns()))
        connected = socket.create_connection(self._address, left / 1e9)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(connected, self._runtime)
