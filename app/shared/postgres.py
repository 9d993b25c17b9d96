"""PostgreSQL over a few asynchronous connections that no hung server can hold for long."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from app.shared.dependency import POSTGRES, ConnectionLost, DependencyError


class Connections:
    """At most `connections` at once, opened when first needed and kept. Make it inside the event loop that uses it.

    A deadline here is the caller's cancellation (asyncio.timeout): whatever is cancelled in the middle closes its
    connection, so that no answer of an old question is ever read for a new one. Every statement is a transaction.
    """

    def __init__(
        self, dsn: str, timeout: float, *, application: str, read_only: bool = True, connections: int = 8
    ) -> None:
        """`timeout` seconds after which the server itself gives a statement up; `application` as it sees us."""
        self._dsn = dsn
        self._options = f"-c statement_timeout={int(timeout * 1_000)}"
        if read_only:
            self._options += " -c default_transaction_read_only=on"
        self._application = application
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[Any] = []

    async def query(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows that one statement returns; none where it returns none. Raises DependencyError."""
        async with self._slots:
            connection = None
            try:
                connection = self._idle.pop() if self._idle else await self._connect()
                cursor = connection.cursor()
                cursor.execute(sql, values)
                await _wait(connection)
                rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
                cursor.close()
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) and _is_loss(error):
                    self.close()  # the others went the same way; the retry must not draw one of them
                    raise ConnectionLost(POSTGRES, _first_line(error)) from None
                if isinstance(error, psycopg2.Error):
                    raise DependencyError(POSTGRES, "refused", _first_line(error)) from None
                raise
            self._idle.append(connection)
            return rows

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> Any:
        connection = psycopg2.connect(self._dsn, async_=1, options=self._options, application_name=self._application)
        try:
            await _wait(connection)
        except BaseException:
            connection.close()
            raise
        return connection


async def _wait(connection: Any) -> None:
    """Let the event loop turn until the connection has done what it was asked."""
    loop = asyncio.get_running_loop()
    while (state := connection.poll()) != POLL_OK:
        ready: asyncio.Future[None] = loop.create_future()
        descriptor = connection.fileno()
        if state == POLL_READ:
            loop.add_reader(descriptor, _resolve, ready)
        elif state == POLL_WRITE:
            loop.add_writer(descriptor, _resolve, ready)
        else:
            raise psycopg2.OperationalError(f"unexpected state {state} of the connection")
        try:
            await ready
        finally:
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _is_loss(error: psycopg2.Error) -> bool:
    """No SQLSTATE: the transport broke. Class 08 and 57P0x: the server said that it hangs up."""
    code = error.pgcode
    return code is None or code.startswith(("08", "57P"))


def _first_line(error: psycopg2.Error) -> str:
    return (str(error).strip().splitlines() or ["connection lost"])[0]
