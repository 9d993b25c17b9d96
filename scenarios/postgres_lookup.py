"""Documents straight from PostgreSQL, one by its key after the other.

Under the harness: `harness run examples/postgres_lookup.yaml`. By hand, against a PostgreSQL that holds the corpus:

    SLO_ARTEFACT_CORPUS=<directory of the corpus> SLO_ADDRESS_POSTGRES_SQL=127.0.0.1:5432 \\
        locust -f scenarios/postgres_lookup.py

SLO_POSTGRES_USER and SLO_POSTGRES_DATABASE: postgres unless said otherwise. So that the server's counter of index scans
is that of this load alone, it reads a copy of the titles, the table slo_lookup, which it makes before the load where it
is not there yet, and which stays. `correct` is 1 where the title is the one that the corpus has.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import psycopg2
from locust import events, task

from harness.load.users import address, artefact
from harness.load.users.postgres import PostgresUser

NAME = "postgres-lookup"
DSN = (
    f"postgresql://{os.environ.get('SLO_POSTGRES_USER', 'postgres')}@{address('postgres', 'sql')}"
    f"/{os.environ.get('SLO_POSTGRES_DATABASE', 'postgres')}"
)
_COPY = """
DROP TABLE IF EXISTS slo_lookup;
CREATE TABLE slo_lookup (id bigint PRIMARY KEY, title text NOT NULL);
INSERT INTO slo_lookup SELECT id, title FROM documents;
COMMENT ON TABLE slo_lookup IS %s
"""
_STRIDE = 997  # users start this far apart, and so far is it from one document to the next
_users = itertools.count()


def read_titles() -> list[str]:
    """The title of each document, in the order of ids."""
    with (Path(artefact("corpus")) / "passages.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line)["title"] for line in lines]


TITLES = read_titles()


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def copy_titles(environment: Any, **_: Any) -> None:
    """Once for all users and all workers, and anew for another corpus, whose hash is the comment on both tables."""
    connection = psycopg2.connect(DSN, connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7342)")
            cursor.execute("SELECT obj_description('documents'::regclass), obj_description(to_regclass('slo_lookup'))")
            wanted, found = cursor.fetchone() or (None, None)
            if found is None or found != wanted:
                cursor.execute(_COPY, (wanted,))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE slo_lookup")  # without it a scan of the whole table may look cheaper
    finally:
        connection.close()


class PostgresLookup(PostgresUser):
    """Looks one document after the other up."""

    host = DSN

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    @task  # type: ignore[untyped-decorator]
    def look_up(self) -> None:
        number = self._next * _STRIDE % len(TITLES)
        self._next += 1
        reply = self.client.execute("SELECT title FROM slo_lookup WHERE id = %s", (number,), name=NAME)
        if reply.ok:
            self.record("correct", reply.rows == [(TITLES[number],)], name=NAME)
