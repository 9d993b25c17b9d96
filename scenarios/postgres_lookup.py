"""Documents straight from PostgreSQL, one by its key after the other.

Under the harness: `harness run examples/postgres_lookup.yaml`. By hand, against a PostgreSQL that holds the corpus:

    SLO_ARTEFACT_CORPUS=<directory of the corpus> SLO_ADDRESS_POSTGRES_SQL=127.0.0.1:5432 \\
        locust -f scenarios/postgres_lookup.py

SLO_POSTGRES_USER and SLO_POSTGRES_DATABASE: postgres unless said otherwise. `correct` is 1 where the title is the one
that the corpus has. The comment in the statement is how pg_stat_statements, and so the exporter, tell it from others.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

from locust import task

from harness.load.users import address, artefact
from harness.load.users.postgres import PostgresUser

NAME = "postgres-lookup"
DSN = (
    f"postgresql://{os.environ.get('SLO_POSTGRES_USER', 'postgres')}@{address('postgres', 'sql')}"
    f"/{os.environ.get('SLO_POSTGRES_DATABASE', 'postgres')}"
)
SELECT = f"SELECT /* slo:{NAME} */ title FROM documents WHERE id = %s"
_STRIDE = 997  # users start this far apart, and so far is it from one document to the next
_users = itertools.count()


def read_titles() -> list[str]:
    """The title of each document, in the order of ids."""
    with (Path(artefact("corpus")) / "passages.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line)["title"] for line in lines]


TITLES = read_titles()


class PostgresLookup(PostgresUser):
    """Looks one document after the other up."""

    host = DSN

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    def on_start(self) -> None:
        """A server counts no statement before its first: one that is no part of the load makes its counter exist."""
        self.client.execute(SELECT, (0,), record=False)

    @task  # type: ignore[untyped-decorator]
    def look_up(self) -> None:
        number = self._next * _STRIDE % len(TITLES)
        self._next += 1
        reply = self.client.execute(SELECT, (number,), name=NAME)
        if reply.ok:
            self.record("correct", reply.rows == [(TITLES[number],)], name=NAME)
