"""What clients of one connection and one request at a time have in common: every request ends in a reply and in one
sample, whatever happened."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from socket import socket
from typing import Generic, TypeVar

from harness.load.http_connection import Runtime
from harness.load.sink import Channel, Moment, Result
from harness.load.wire import Wire, connect

W = TypeVar("W", bound=Wire)
R = TypeVar("R", bound=Result)
Written = Callable[[], None]
Send = Callable[[W, int, Written], str | None]  # (connection, deadline, as soon as bytes have gone out) -> error


class WireClient(ABC, Generic[W]):
    """Requests of one user. Nothing is retried: a request that failed is a sample that says so, and the next one opens
    a connection if there is none.

    channel: finds where a method and name are recorded; moment: called once a request; timeout: seconds for a whole
    reply, connecting included.
    """

    def __init__(
        self,
        host: str,
        port: int,
        runtime: Runtime,
        *,
        channel: Callable[[str, str], Channel],
        moment: Callable[[int], Moment],
        timeout: float,
    ) -> None:
        self._host, self._port = host, port
        self._runtime = runtime
        self._channel = channel
        self._moment = moment
        self._timeout_ns = round(timeout * 1e9)
        self._wire: W | None = None

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    @abstractmethod
    def _open(self, connected: socket) -> W:
        """A connection of this protocol."""

    def _greet(self, wire: W, deadline_ns: int) -> str | None:
        """What must be said once on a new connection; returns the kind of error or None."""
        return None

    def _perform(
        self,
        method: str,
        name: str | None,
        send: Send[W],
        timeout: float | None,
        reply: Callable[[str | None, W | None, int], R],
    ) -> R:
        """One request. name: None records nothing; reply: makes the result out of the error, the connection, and the
        latency in nanoseconds."""
        start = time.monotonic_ns()
        channel = self._channel(method, name) if name is not None else NOWHERE
        moment = self._moment(start) if name is not None else Moment(start, start)
        deadline = start + (self._timeout_ns if timeout is None else round(timeout * 1e9))
        error, wire = self._exchange(send, deadline, lambda: channel.sent(moment))
        end = (wire.end_ns if wire is not None else 0) or time.monotonic_ns()
        result = reply(error, wire, end - moment.since_ns)
        channel.finished(moment, start, end, result)
        return result

    def _exchange(self, send: Send[W], deadline: int, on_written: Written) -> tuple[str | None, W | None]:
        wire = self._wire
        if wire is not None and not wire.still_open():
            self.close()
            wire = None
        if wire is None:
            connected = connect(self._host, self._port, deadline)
            if isinstance(connected, str):
                return connected, None
            wire = self._wire = self._open(connected)
            error = self._greet(wire, deadline)
            if error is not None:
                self.close()
                return error, wire
        error = send(wire, deadline, on_written)
        if wire.over:
            self.close()
        return error, wire


class _Nowhere:
    """For requests that prepare or tidy up: they are no part of the load."""

    def sent(self, moment: Moment) -> None:
        pass

    def retried(self, moment: Moment) -> None:
        pass

    def finished(self, moment: Moment, start_ns: int, end_ns: int, reply: Result) -> None:
        pass


NOWHERE = _Nowhere()
