"""Connections of one user to one server: an idle one is taken, a new one is made, and every failure to is named."""

from __future__ import annotations

import errno
import socket
import time
from typing import NamedTuple

from harness.load.http_connection import Connection, Limits, Runtime
from harness.load.http_message import Target
from harness.load.http_tls import Tls, TlsConnection
from harness.load.sink import Channel, Moment

# what this machine has too few of: descriptors, ports, memory
_OWN_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)


class NoConnection:
    """Stands for the connection that could not be made."""

    status, head, body, end_ns, over, closed = 0, b"", b"", 0, True, True

    def __init__(self, error: str) -> None:
        self.error: str | None = error

    def close(self) -> None:
        """There is nothing to close."""


class Settings(NamedTuple):
    """What holds for all connections of a user. connect_ns: for connecting, TLS included."""

    connect_ns: int
    limits: Limits
    tls: Tls


class Again:
    """A channel as the second sending of a request sees it."""

    def __init__(self, channel: Channel) -> None:
        self.sent = self.retried = channel.retried
        self.finished = channel.finished


class Pool:
    """At most one connection is in use but for streams, which keep theirs until they end."""

    def __init__(self, target: Target, runtime: Runtime, settings: Settings) -> None:
        self._target, self._runtime, self._settings = target, runtime, settings
        self._idle: list[Connection] = []

    def exchange(
        self,
        message: bytes,
        deadline: int,
        channel: Channel,
        moment: Moment,
        idempotent: bool,
        head_only: bool = False,
        piecewise: bool = False,
    ) -> Connection | NoConnection:
        """Send and wait, on an idle connection if there is one; see Connection.exchange. What met a connection that the
        server had closed while it was idle is sent once more, but only if it cannot have been carried out or may be
        carried out twice (idempotent). Give the connection back when its reply has been read."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.over or not (idempotent or connection.still_open()):
                connection.close()
                continue
            error = connection.exchange(message, deadline, channel, moment, head_only, piecewise)
            if error is None or error not in ("closed", "reset") or connection.begun:
                return connection
            if connection.written:
                if not idempotent:
                    return connection
                channel = Again(channel)
            connection.close()
            break
        made = self._connect(deadline)
        if not isinstance(made, NoConnection):
            made.exchange(message, deadline, channel, moment, head_only, piecewise)
        return made

    def give_back(self, connection: Connection | NoConnection) -> None:
        """Its reply has been read, or nobody waits for the rest."""
        if connection.over:
            connection.close()
        elif not isinstance(connection, NoConnection):
            self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle; the next request opens another."""
        while self._idle:
            self._idle.pop().close()

    def _connect(self, deadline: int) -> Connection | NoConnection:
        now = time.monotonic_ns()
        until = min(deadline, now + self._settings.connect_ns)
        try:
            connected = self._reach(max(1_000_000, until - now) / 1e9)
        except TimeoutError:
            return NoConnection("connect_timeout")
        except ConnectionRefusedError:
            return NoConnection("refused")
        except ConnectionResetError:
            return NoConnection("reset")
        except (socket.gaierror, UnicodeError):  # the latter for what cannot be a name
            return NoConnection("unresolved")
        except OSError as error:
            return NoConnection("client_limit" if error.errno in _OWN_LIMITS else "unreachable")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = self._settings
        if not self._target.tls:
            return Connection(connected, self._runtime, settings.limits)
        secured = TlsConnection(connected, self._runtime, settings.limits, settings.tls, self._target.host)
        try:
            failed = secured.handshake(until)
        except BaseException:
            secured.close()
            raise
        if failed is None:
            return secured
        secured.close()
        return NoConnection(failed)

    def _reach(self, seconds: float) -> socket.socket:
        """A connected socket. The limit holds for all addresses of the name, and for finding them."""
        connected: socket.socket | None = None
        with self._runtime.limit(seconds):
            connected = socket.create_connection((self._target.host, self._target.port), seconds)
        if connected is None:
            raise TimeoutError
        return connected
