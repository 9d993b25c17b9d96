"""Postgres lock: a transaction that never ends holds a lock on a table, so that whoever wants it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.faults.guarded import PATIENCE
from harness.faults.postgres_fault import PostgresFault, PostgresParameters
from harness.faults.postgres_session import NAME, Session
from harness.model.events import Event
from harness.stack.handle import Stack

LOOK = 0.1  # seconds between two looks at who waits
PROBE = "100ms"  # for which our probe waits
_MODES = {"access-exclusive": "AccessExclusiveLock", "exclusive": "ExclusiveLock", "share": "ShareLock"}
_OURS = "SELECT 1 FROM pg_locks WHERE pid = ANY(%s) AND relation = %s::regclass AND mode = %s AND granted"
_WAITING = """
    SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND relation = %s::regclass AND application_name <> %s
"""


class PostgresLockParameters(PostgresParameters):
    table: str | None = Field(None, description="the table, as TABLE or SCHEMA.TABLE; if not given, the first")
    mode: Literal["access-exclusive", "exclusive", "share"] = Field(
        "access-exclusive", description="access-exclusive stops reads and writes, the others writes alone"
    )


class PostgresLock(PostgresFault):
    """In force when pg_locks has our lock as granted, and a probe that wants the table gets lock_not_available.
    `waiting` counts the sessions of others that waited for the table, most at once, at ten looks a second."""

    name = "postgres-lock"
    takes = PostgresLockParameters
    timeout: ClassVar[str] = "idle_in_transaction_session_timeout"
    given: PostgresLockParameters

    def __init__(
        self, stack: Stack, parameters: PostgresLockParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(stack, parameters, emit)
        self._sql = parameters.table or ""
        self._waiting = 0
        self._done = threading.Event()
        self._sampler: threading.Thread | None = None

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"table": self._sql}

    def _hold(self) -> None:
        self._sql, self._waiting = self._table(self.given.table), 0
        mode = self.given.mode.replace("-", " ").upper()
        holder = self._holder(f"lock_timeout={PATIENCE:.0f}s")
        holder.ask(f"BEGIN; LOCK TABLE {self._sql} IN {mode} MODE", wait=PATIENCE + 1)
        self._done.clear()
        self._sampler = threading.Thread(target=self._look, args=(self._session(),), daemon=True)
        self._sampler.start()

    def _seen(self) -> str:
        pids = self._pids()
        if not self._ask(_OURS, (pids, self._sql, _MODES[self.given.mode])) or self._wanted():
            return ""
        return f"session {pids[0]} holds {_MODES[self.given.mode]} on {self._sql}, and another waited in vain"

    def _works(self) -> str:
        return f"its session is gone, and {self._sql} can be had" if self._wanted() else ""

    def _wanted(self) -> bool:
        """Whether a new session gets what the mode stops: a read, or the lock of a write."""
        from psycopg2.errors import LockNotAvailable

        reads = self.given.mode == "access-exclusive"
        probe = self._session(f"lock_timeout={PROBE}")
        try:
            probe.ask(f"BEGIN; LOCK TABLE {self._sql} IN {'ACCESS SHARE' if reads else 'ROW EXCLUSIVE'} MODE")
            return True
        except LockNotAvailable:
            return False
        finally:
            probe.close()

    def _look(self, session: Session) -> None:
        import psycopg2

        with closing(session), suppress(psycopg2.Error):  # the end of the fault tells of a server that is gone
            while not self._done.wait(LOOK):
                (found,) = session.ask(_WAITING, (self._sql, NAME))[0]
                self._waiting = max(self._waiting, found)

    def _stop(self) -> None:
        self._done.set()
        if self._sampler is not None:
            self._sampler.join()
            self._sampler = None

    def _counters(self) -> dict[str, int]:
        return {"waiting": self._waiting}
