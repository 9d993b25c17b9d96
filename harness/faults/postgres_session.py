"""Sessions at a PostgreSQL that wait no longer than they should, and end with this process whatever that leaves behind.

A server that is stopped answers nothing, so every wait has an end here. A forked child gives the sessions up.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
import weakref
from collections.abc import Sequence
from typing import Any

NAME = "slo-harness fault"  # application_name of all our sessions
WAIT = 5.0  # seconds for one answer
LOOK_FOR_US = "client_connection_check_interval=100"  # ms; a session that waits for a lock sees that we are gone
TOO_MANY = "53300"


class Session:
    """One session, in no transaction until `ask` begins one. Methods raise psycopg2.Error."""

    def __init__(self, address: str, user: str, database: str, *settings: str) -> None:
        """address: host:port; settings: `name=value`, of this session alone."""
        import psycopg2

        host, port = address.rsplit(":", 1)
        options = " ".join(f"-c {one}" for one in (LOOK_FOR_US, *settings))
        self._connection: Any = psycopg2.connect(
            host=host, port=port, user=user, dbname=database, application_name=NAME, options=options, async_=1
        )
        _open.add(self)
        try:
            self._wait(WAIT)
        except psycopg2.Error:
            self.close()
            raise
        self.pid: int = self._connection.info.backend_pid

    def ask(self, sql: str, values: Sequence[Any] = (), wait: float = WAIT) -> list[tuple[Any, ...]]:
        """The rows of a statement; [] if it gives none. wait: seconds."""
        cursor = self._connection.cursor()
        cursor.execute(sql, values or None)
        self._wait(wait)
        return list(cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        """The server ends the session, and undoes its transaction. A second call does nothing."""
        self._connection.close()

    def _wait(self, seconds: float) -> None:
        import psycopg2
        from psycopg2.extensions import POLL_OK, POLL_READ

        until = time.monotonic() + seconds
        while (state := self._connection.poll()) != POLL_OK:
            poll = select.poll()
            poll.register(self._connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise psycopg2.OperationalError(f"no answer in {seconds:g} s")

    def give_up(self) -> None:
        """In a forked child: let go of the socket without a word to the server."""
        if not self._connection.closed:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, self._connection.fileno())
            os.close(nothing)


def refusal(address: str, user: str, database: str) -> tuple[str, str]:
    """SQLSTATE and message with which a new connection is refused; ("", "") for one that is let in, or would be asked
    for a password. psycopg2 does not tell the SQLSTATE of that. Raises OSError."""
    words = b"".join(one.encode() + b"\0" for one in ("user", user, "database", database, "application_name", NAME, ""))
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), WAIT) as client, client.makefile("rb") as answer:
        client.sendall(struct.pack("!II", len(words) + 8, 196608) + words)
        head = answer.read(5)
        if len(head) < 5:
            raise ConnectionError("the server hung up without a word")
        body = answer.read(struct.unpack("!I", head[1:])[0] - 4)
        if head[:1] != b"E":  # AuthenticationOk comes before some refusals
            while head[:1] not in b"EZ" and len(head := answer.read(5)) == 5:
                body = answer.read(struct.unpack("!I", head[1:])[0] - 4)
        if head[:1] != b"E":
            client.sendall(b"X\0\0\0\x04")
            return "", ""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return fields.get(b"C", ""), fields.get(b"M", "")


_open: weakref.WeakSet[Session] = weakref.WeakSet()


def _give_up_in_child() -> None:
    for session in list(_open):
        session.give_up()


os.register_at_fork(after_in_child=_give_up_in_child)
