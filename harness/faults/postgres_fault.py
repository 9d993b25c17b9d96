"""What the faults on PostgreSQL share: sessions of this process keep them up, and the server undoes what they hold
when they end, by whatever that is. It keeps `lasting` too, so that a harness that is stopped changes nothing."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pydantic import Field

from harness.core.errors import UsageError
from harness.faults.guarded import PATIENCE, without_effect
from harness.faults.postgres_session import Session
from harness.faults.store_fault import StoreFault, StoreParameters, meant
from harness.faults.units import seconds_of
from harness.faults.waiting import wait_for
from harness.model.events import Event
from harness.stack.guard import not_undone
from harness.stack.handle import Stack

_TABLES = """
    SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2
"""


class PostgresParameters(StoreParameters):
    """What all faults on PostgreSQL take."""

    database: str = Field("postgres", description="the database")
    user: str = Field("postgres", description="the role whose sessions keep the fault up")


class PostgresFault(StoreFault):
    """Base. `_watch` is a session that looks, and is there before anything is broken."""

    use: ClassVar[str] = "postgres"
    timeout: ClassVar[str]  # the setting that ends a session which keeps the fault up
    given: PostgresParameters

    def __init__(
        self, stack: Stack, parameters: PostgresParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(emit)
        self.given = parameters
        self._address = stack.address(f"{self.service}.sql")
        self._lasting = None if parameters.lasting is None else seconds_of("lasting", parameters.lasting)
        self._watch: Session | None = None
        self._asking = threading.Lock()
        self._held: list[Session] = []
        self._began = 0.0

    @abstractmethod
    def _hold(self) -> None:
        """Break it, by sessions in `_held`. Raises psycopg2.Error."""

    @abstractmethod
    def _seen(self) -> str:
        """How it is seen to be in force now; '' if it is not. Raises psycopg2.Error, OSError."""

    @abstractmethod
    def _works(self) -> str:
        """How it is seen, when our sessions are gone, that what was broken works; '' if it does not yet. Raises
        psycopg2.Error, OSError."""

    def _stop(self) -> None:
        """End what this process does beside holding sessions."""

    def parameters(self) -> dict[str, Any]:
        return self.given.model_dump(mode="json", exclude_none=True)

    @property
    def label(self) -> str:
        return f"{self.name} on {self.service}"

    def _over(self) -> bool:
        """Whether its time is over."""
        return self._lasting is not None and time.monotonic() >= self._began + self._lasting

    def _session(self, *settings: str) -> Session:
        return Session(self._address, self.given.user, self.given.database, *settings)

    def _holder(self, *settings: str, within: float | None = None) -> Session:
        """A session that keeps the fault up, and that the server ends when its time is over, `lasting` or `within`
        seconds of doing nothing."""
        seconds = self._lasting if within is None else within
        limit = () if self._lasting is None or seconds is None else (f"{self.timeout}={max(1, round(seconds * 1000))}",)
        session = self._session(*limit, *settings)
        self._held.append(session)
        return session

    def _ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """By the session that looks; a lost one is made anew."""
        import psycopg2

        with self._asking:
            if self._watch is None:
                self._watch = self._session()
            try:
                return self._watch.ask(sql, values)
            except psycopg2.Error:
                self._watch.close()
                self._watch = None
                raise

    def _pids(self) -> list[int]:
        return [one.pid for one in self._held]

    def _apply(self) -> str:
        import psycopg2

        try:
            self._watch = self._session()
            self._began = time.monotonic()
            self._hold()
        except (psycopg2.Error, OSError) as error:
            raise without_effect(self.label, f"PostgreSQL says: {_said(error)}") from None
        seen = wait_for(self._safely(self._seen), PATIENCE)
        if not seen:
            raise without_effect(self.label, "it was set, and nothing shows that it is in force")
        return seen

    def _undo(self) -> str:
        over = self._over()
        try:
            seen = self._safely(self._seen)()
            over = over or self._over()
            self._stop()
            self._last = self._counters()
            self._release()
            how = wait_for(self._safely(self._gone), PATIENCE)
            if not how:
                raise not_undone(self.label, "its sessions were closed, and the server is not as it was")
        finally:
            self._close()
        if not seen and not over:
            raise without_effect(self.label, "it was in force at first, and was not any more before it was undone")
        return how if seen else f"it had ended by itself, and {how}"

    def _gone(self) -> str:
        (left,) = self._ask("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", (self._ended,))[0]
        return "" if left else self._works()

    def _abandon(self) -> None:
        self._stop()
        self._close()

    def _release(self) -> None:
        self._ended = self._pids()
        for session in self._held:
            session.close()
        self._held.clear()

    def _close(self) -> None:
        self._release()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _safely(self, look: Callable[[], str]) -> Callable[[], str]:
        """A server that does not answer shows nothing."""
        import psycopg2

        def safe() -> str:
            try:
                return look()
            except (psycopg2.Error, OSError):
                return ""

        return safe

    def _table(self, name: str | None) -> str:
        """A table as SQL names it; the first if none is named. Raises UsageError fault-parameter."""
        found = self._ask(_TABLES)
        known = {f"{schema}.{table}": sql for schema, table, sql in found}
        known |= {table: sql for schema, table, sql in found if schema == "public"}
        if name is None and known:
            return str(found[0][2])
        if name in known:
            return str(known[name])
        cause = f"no table {name!r} in database {self.given.database}{meant(name or '', tuple(known))}"
        raise UsageError("fault-parameter", f"{self.name}: {cause}", "Name one that is there as `table`.")


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
