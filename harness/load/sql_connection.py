"""psycopg2 on an event loop that is passed in: its wait callback, with a deadline for each statement."""

from __future__ import annotations

import _socket
import os
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, connection, set_wait_callback

from harness.load.http_connection import READ, WRITE, Runtime


class Late(Exception):
    """The deadline passed while a statement was under way; what the connection is good for is not known any more."""


class SqlConnection:
    """One connection in autocommit, one statement at a time. Make it outside of the loop itself.

    dsn: as psycopg2 takes it. Raises Late and psycopg2.Error.
    """

    def __init__(self, dsn: str, runtime: Runtime, deadline_ns: int, **options: Any) -> None:
        _install()
        self._runtime = runtime
        self._watchers: dict[tuple[int, int], Any] = {}
        self._waiter: Any = None
        self._on_written: Callable[[], None] | None = None
        self._late = False
        self.deadline_ns = 0
        runtime.connections.add(self)
        try:
            with _Deadline(self, deadline_ns, None):
                self._connection = psycopg2.connect(dsn, connection_factory=self._made, **options)
            self._connection.autocommit = True
        except BaseException:
            self._forget()
            raise
        self._peek = _socket.socket(fileno=os.dup(self._connection.fileno()))

    def execute(
        self, sql: str, values: Any, deadline_ns: int, on_written: Callable[[], None]
    ) -> tuple[list[tuple[Any, ...]], int, int]:
        """(rows, number of rows found or changed, when the reply was whole). on_written: called once the statement has
        gone out."""
        with self._connection.cursor() as cursor:
            with _Deadline(self, deadline_ns, on_written):
                cursor.execute(sql, values)
            end = time.monotonic_ns()
            return (cursor.fetchall() if cursor.description else []), cursor.rowcount, end

    def still_open(self) -> bool:
        """Neither side has closed it, nor has the server said that it will."""
        if self._connection.closed:
            return False
        try:
            said = self._peek.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return said not in (b"", b"E")  # an error between two statements is a good-bye; a notice is none

    @property
    def usable(self) -> bool:
        """Not closed by us or by libpq."""
        return not self._connection.closed

    def close(self) -> None:
        self._peek.close()
        self._forget()
        self._connection.close()

    def finish(self, error: str | None) -> None:
        """The deadline has passed. Runs in the loop."""
        self.deadline_ns, self._late = 0, True
        if self._waiter is not None:
            self._waiter.switch()

    def begin(self, deadline_ns: int, on_written: Callable[[], None] | None) -> None:
        self.deadline_ns, self._on_written, self._late = deadline_ns, on_written, False

    def wait(self, inner: Any) -> None:
        """psycopg2 calls this whenever it would wait; `inner` is its own connection."""
        if self._on_written is not None:
            on_written, self._on_written = self._on_written, None
            on_written()
        while (state := inner.poll()) != POLL_OK:
            if self._late:
                raise Late
            self._until(inner.fileno(), {POLL_READ: READ, POLL_WRITE: WRITE}[state])

    def _until(self, fd: int, event: int) -> None:
        watcher = self._watchers.get((fd, event))
        if watcher is None:
            watcher = self._watchers[fd, event] = self._runtime.hub.loop.io(fd, event)
        self._waiter = self._runtime.current()
        watcher.start(self._waiter.switch)
        try:
            self._runtime.hub.switch()
        finally:
            self._waiter = None
            watcher.stop()

    def _made(self, dsn: str, async_: int = 0) -> connection:
        class Owned(connection):  # type: ignore[misc]
            owner = self  # it connects, and so waits, in its constructor: it must know its owner by then

        return Owned(dsn, async_)

    def _forget(self) -> None:
        self._runtime.connections.discard(self)
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers.clear()


class _Deadline:
    """Within it the sweep may end what the connection does."""

    def __init__(self, own: SqlConnection, deadline_ns: int, on_written: Callable[[], None] | None) -> None:
        self._own, self._deadline_ns, self._on_written = own, deadline_ns, on_written

    def __enter__(self) -> None:
        self._own.begin(self._deadline_ns, self._on_written)

    def __exit__(self, *_: object) -> None:
        self._own.deadline_ns = 0


def _wait(inner: Any) -> None:
    owner = getattr(inner, "owner", None)
    if owner is None:
        raise psycopg2.InterfaceError("this connection is not the harness': use self.client, or async_=1")
    owner.wait(inner)


def _install() -> None:
    """For the whole process, which is a load worker's or Locust's."""
    set_wait_callback(_wait)
