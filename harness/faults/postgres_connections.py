"""Postgres connections: sessions that do nothing take all connections that the server allows, as a leak does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field

from harness.faults.postgres_fault import PostgresFault, PostgresParameters
from harness.faults.postgres_session import NAME, TOO_MANY, refusal
from harness.faults.waiting import wait_for
from harness.model.events import Event
from harness.stack.handle import Stack

LOOK = 0.1  # seconds between two looks whether a place became free
FILLING = 30.0  # seconds that it may take until all are held
ROUNDS = 3.0  # seconds for which sessions of others that come back are ended again
_FREE = """
    SELECT current_setting('max_connections')::int - count(*) FILTER (WHERE backend_type = 'client backend'),
           count(*) FILTER (WHERE backend_type = 'client backend' AND application_name <> %s),
           count(*) FILTER (WHERE pid = ANY(%s))
    FROM pg_stat_activity
"""
_END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name <> %s
"""


class PostgresConnectionsParameters(PostgresParameters):
    existing: Literal["keep", "end"] = Field(
        "keep", description="what becomes of the sessions that are there: kept, or ended and their places taken"
    )
    spare: int = Field(0, ge=0, description="how many connections are left free")


class PostgresConnections(PostgresFault):
    """In force when a new connection is refused with 53300 (with `spare`, when no more than that are free). A place
    that becomes free later is taken in a tenth of a second. `ended` counts the sessions of others that were ended."""

    name = "postgres-connections"
    takes = PostgresConnectionsParameters
    timeout: ClassVar[str] = "idle_session_timeout"
    given: PostgresConnectionsParameters

    def __init__(
        self, stack: Stack, parameters: PostgresConnectionsParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(stack, parameters, emit)
        self._ended_others = 0
        self._done = threading.Event()
        self._keeper: threading.Thread | None = None

    def _hold(self) -> None:
        self._ended_others = 0
        self._fill()
        if self.given.existing == "end":
            wait_for(self._end_others, ROUNDS)
        self._began = time.monotonic()
        if self._lasting is not None:  # from now on; filling takes a while
            for session in self._held:
                session.ask(f"SET idle_session_timeout = {round(self._lasting * 1000)}")
        self._done.clear()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def _end_others(self) -> bool:
        """Whether there are none any more; who comes back is faster than us, now and then."""
        self._ended_others += sum(done for (done,) in self._ask(_END, (NAME,)))
        self._fill()
        return self._free()[1] == 0

    def _free(self) -> tuple[int, int, int]:
        """Connections that nobody has, that others have, and that are held."""
        free, others, held = self._ask(_FREE, (NAME, self._pids()))[0]
        return free, others, held

    def _fill(self) -> None:
        """Take what is free, until nothing is, or the server lets nobody in any more."""
        import psycopg2

        for _ in range(max(0, self._free()[0] - self.given.spare)):
            try:
                self._holder(within=self._left())
            except psycopg2.OperationalError:
                return  # the last are kept for superusers, or somebody else was faster

    def _left(self) -> float:
        """Seconds until a session that begins now is to end, should nobody say anything more to it."""
        if self._lasting is None or self._keeper is None:
            return (self._lasting or 0.0) + FILLING
        return max(0.001, self._began + self._lasting - time.monotonic())

    def _keep(self) -> None:
        import psycopg2

        while not self._done.wait(LOOK) and not self._over():
            try:
                self._fill()
            except psycopg2.Error:
                continue  # the server is gone, or ended the session that looks: the end of the fault tells

    def _stop(self) -> None:
        self._done.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None

    def _seen(self) -> str:
        free, others, held = self._free()
        if not held or free > self.given.spare:
            return ""
        if self.given.spare:
            return f"{free} connections are free; {held} are held, {others} are of others"
        code, message = refusal(self._address, self.given.user, self.given.database)
        told = f"a new connection is refused: {code} {message}; {held} are held, {others} are of others"
        return told if code == TOO_MANY else ""

    def _works(self) -> str:
        code, _ = refusal(self._address, self.given.user, self.given.database)
        return "" if code else "its sessions are gone, and a new connection is let in"

    def _counters(self) -> dict[str, int]:
        return {"ended": self._ended_others}
