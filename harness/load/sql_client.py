"""A sequential client of PostgreSQL: every statement is a sample with a named outcome."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from harness.load.http_connection import Runtime
from harness.load.sink import Channel, Moment
from harness.load.sql_connection import Late, SqlConnection
from harness.load.store_reply import StoreReply
from harness.load.wire_client import NOWHERE

CONNECT_TIMEOUT_NS = 5_000_000_000
CLASSES = {  # the first two characters of an SQLSTATE
    "08": "connection",
    "0A": "unsupported",
    "22": "data",
    "23": "integrity",
    "25": "transaction_state",
    "28": "authorization",
    "34": "cursor",
    "3D": "database",
    "40": "rollback",  # serialization failures and deadlocks
    "42": "syntax_or_access",
    "53": "resources",
    "54": "limit",
    "55": "object_state",  # locks that were not to be had
    "57": "intervention",  # cancelled by a timeout, shut down
    "58": "system",
    "P0": "plpgsql",
    "XX": "internal",
}


class SqlReply(StoreReply):
    """What a statement came to.

    rows: tuples, none where it returns none; count: of rows found or changed, -1 where that has no meaning.
    error: None, or refused | connect_timeout | unreachable | timeout | closed (or reset, which libpq does not tell
    apart) | bad_reply | sql_<class of the SQLSTATE>, as sql_integrity or sql_rollback; detail: the SQLSTATE and the
    server's words, or libpq's; size: 0, for libpq does not tell.
    """

    __slots__ = ("count", "rows")

    def __init__(
        self, rows: list[tuple[Any, ...]], count: int, error: str | None, detail: str, latency_ns: int
    ) -> None:
        super().__init__(error, detail, 0, latency_ns)
        self.rows = rows
        self.count = count


class SqlClient:
    """Statements of one user on one connection, one at a time, each a transaction unless BEGIN was executed. Nothing is
    retried. The server itself gives a statement up a second after the client did.

    dsn: postgresql://user:password@host:port/database, or what else libpq takes; channel: finds where a method and
    name are recorded; moment: called once a statement; timeout: seconds for a statement, connecting included.
    """

    def __init__(
        self,
        dsn: str,
        runtime: Runtime,
        *,
        channel: Callable[[str, str], Channel],
        moment: Callable[[int], Moment],
        timeout: float = 10.0,
    ) -> None:
        self._dsn = dsn
        self._runtime = runtime
        self._channel = channel
        self._moment = moment
        self._timeout_ns = round(timeout * 1e9)
        self._options = f"-c statement_timeout={round(timeout * 1000) + 1000}"
        self._connection: SqlConnection | None = None

    def execute(
        self, sql: str, values: Any = None, *, name: str | None = None, timeout: float | None = None,
        record: bool = True,
    ) -> SqlReply:  # fmt: skip
        """One statement; values: for its %s, or by name for its %(name)s. name: what it is recorded under (default: its
        first word); timeout: seconds, instead of the user's; record: False for what is no part of the load.

        Raises psycopg2.ProgrammingError or TypeError for what cannot be sent; no failure of the network or the server
        does.
        """
        start = time.monotonic_ns()
        channel = self._channel("SQL", name or sql.split(None, 1)[0].upper()) if record else NOWHERE
        moment = self._moment(start) if record else Moment(start, start)
        deadline = start + (self._timeout_ns if timeout is None else round(timeout * 1e9))
        rows, count, end, error, detail = self._exchange(sql, values, deadline, lambda: channel.sent(moment))
        reply = SqlReply(rows, count, error, detail, end - moment.since_ns)
        channel.finished(moment, start, end, reply)
        return reply

    def close(self) -> None:
        """Close the connection; the next statement opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, sql: str, values: Any, deadline: int, on_written: Callable[[], None]
    ) -> tuple[list[tuple[Any, ...]], int, int, str | None, str]:
        try:
            connection = self._opened(deadline)
        except Late:
            return [], -1, time.monotonic_ns(), "connect_timeout", ""
        except psycopg2.Error as error:
            return [], -1, time.monotonic_ns(), *_outcome(error, connecting=True)
        try:
            return *connection.execute(sql, values, deadline, on_written), None, ""
        except Late:
            self.close()
            return [], -1, time.monotonic_ns(), "timeout", ""
        except psycopg2.Error as error:
            end = time.monotonic_ns()
            if not connection.usable:
                self.close()
            elif error.pgcode is None and isinstance(error, psycopg2.ProgrammingError):
                raise  # it was never sent
            return [], -1, end, *_outcome(error, connecting=False)
        except BaseException:  # the user was stopped in the middle of it, or its values cannot be adapted
            self.close()
            raise

    def _opened(self, deadline: int) -> SqlConnection:
        if self._connection is not None and not self._connection.still_open():
            self.close()
        if self._connection is None:
            patience = min(deadline, time.monotonic_ns() + CONNECT_TIMEOUT_NS)
            self._connection = SqlConnection(
                self._dsn, self._runtime, patience, options=self._options, application_name="slo-harness"
            )
        return self._connection


def _outcome(error: psycopg2.Error, *, connecting: bool) -> tuple[str, str]:
    """(name of the error, details)."""
    said = " ".join(str(error).split())
    if error.pgcode is not None:
        return f"sql_{CLASSES.get(error.pgcode[:2], 'other')}", f"{error.pgcode} {said}"
    for number, name in ((errno.ECONNREFUSED, "refused"), (errno.ECONNRESET, "reset"), (errno.EPIPE, "reset")):
        if os.strerror(number) in said:
            return name, said
    if "closed the connection unexpectedly" in said:
        return "closed", said
    if connecting and "FATAL:" in said:  # libpq gives no SQLSTATE for what the server refuses at the door
        return "sql_connection", said
    return ("unreachable" if connecting and "could not" in said else "bad_reply"), said
