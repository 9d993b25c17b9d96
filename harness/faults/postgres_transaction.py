"""Postgres long transaction: a session stays idle in a transaction with a snapshot, so that vacuum may remove nothing
that died since, and the oldest transaction grows old."""

from __future__ import annotations

from typing import ClassVar

from harness.faults.postgres_fault import PostgresFault, PostgresParameters

_OURS = """
    SELECT age(backend_xmin), extract(epoch FROM clock_timestamp() - xact_start) FROM pg_stat_activity
    WHERE pid = ANY(%s) AND state = 'idle in transaction' AND backend_xid IS NOT NULL AND backend_xmin IS NOT NULL
"""


class PostgresLongTransaction(PostgresFault):
    """In force when pg_stat_activity shows it idle in a transaction that has an id, and its snapshot is a transaction
    older after one of ours. It locks no table and nobody waits for it, so it counts nothing."""

    name = "postgres-long-transaction"
    takes = PostgresParameters
    timeout: ClassVar[str] = "idle_in_transaction_session_timeout"

    def _hold(self) -> None:
        holder = self._holder()
        holder.ask("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()")

    def _seen(self) -> str:
        before = self._ask(_OURS, (self._pids(),))
        self._ask("SELECT pg_current_xact_id()")  # takes an id, as a transaction that writes does
        after = self._ask(_OURS, (self._pids(),))
        if not before or not after or not (after[0][0] > before[0][0] and after[0][1] > before[0][1]):
            return ""
        (age, seconds) = after[0]
        return f"session {self._pids()[0]} is idle in a transaction for {seconds:.1f} s, its snapshot {age} old"

    def _works(self) -> str:
        return "its session is gone, and its snapshot with it"

    def _counters(self) -> dict[str, int]:
        return {}
