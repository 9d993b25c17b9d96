"""The user of PostgreSQL."""

from __future__ import annotations

from typing import Any

from locust.exception import StopTest

from harness.load.sql_client import SqlClient
from harness.load.users.recording import RecordingUser, runtime


class PostgresUser(RecordingUser):
    """One user: one connection in autocommit, one statement at a time, every outcome recorded.

    host: postgresql://user:password@host:port/database; timeout: seconds for a statement.

        reply = self.client.execute("SELECT title FROM documents WHERE id = %s", (7,), name="lookup")
    """

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        dsn = self.host or environment.host or ""
        if not dsn.startswith(("postgresql://", "postgres://")):
            raise StopTest(f"{dsn!r} is not postgresql://user@host:port/database; give it with --host or as `host`")
        self.client = SqlClient(dsn, runtime(), channel=self._sink.channel, moment=self._moment, timeout=self.timeout)
