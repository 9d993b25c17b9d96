"""`python -m app.load_features`: put the entities and their first features into PostgreSQL, and prove that they are.

Both tables carry the artefact's hash, so that a second run only verifies; it leaves what the refresher wrote meanwhile.
Exit code 0 when every row was counted, 1 when not, 2 for a configuration that cannot be used.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from app.shared.digits import Digits, DigitsError
from app.shared.environment import ConfigError, Reader, dsn
from app.shared.feature_store import ENTITIES_TABLE, FEATURES_TABLE, array_literal
from app.shared.features import FEATURES, profile

# Updates in place leave room in their pages: twice the space, and no bloat between two runs of vacuum.
_SCHEMA = f"""
CREATE TABLE {ENTITIES_TABLE} (entity_id bigint PRIMARY KEY, pixels real[] NOT NULL);
CREATE TABLE {FEATURES_TABLE} (
    entity_id bigint NOT NULL,
    feature_name text NOT NULL,
    "values" real[] NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (entity_id, feature_name)
) WITH (fillfactor = 50)
"""


class LoadError(Exception):
    """The data is not there as it should be; the message says what was found where."""


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """PostgreSQL (DSN) and the directory of the digits artefact."""

    postgres: str
    digits: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> LoadConfig:
        """Reads APP_POSTGRES and APP_DIGITS. Raises ConfigError."""
        read = Reader(environment)
        return cls(postgres=read("APP_POSTGRES", dsn), digits=read("APP_DIGITS", Path))


def load(address: str, digits: Digits) -> str:
    """Both tables by COPY in one transaction. Returns what was done. Raises LoadError, psycopg2.Error."""
    connection = psycopg2.connect(address, connect_timeout=5, options="-c statement_timeout=60000")
    try:
        with connection:
            present = _loaded(connection, digits)
            if not present:
                _copy(connection, digits)
            _count(connection, ENTITIES_TABLE, digits.size)
            _count(connection, FEATURES_TABLE, digits.size * len(FEATURES))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {ENTITIES_TABLE}, {FEATURES_TABLE}")
    finally:
        connection.close()
    return f"{digits.size:,} entities with {len(FEATURES)} features each {'were there' if present else 'copied'}"


def _loaded(connection: Connection, digits: Digits) -> bool:
    marks = [_mark(digits)] * 2
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT obj_description(to_regclass(%s)), obj_description(to_regclass(%s))",
            (ENTITIES_TABLE, FEATURES_TABLE),
        )
        return list(cursor.fetchone() or ()) == marks


def _copy(connection: Connection, digits: Digits) -> None:
    pixels = digits.pixels()
    values = {"pixels": pixels, "profile": profile(pixels)}
    now = datetime.now(UTC).isoformat()
    ids = range(digits.size)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {FEATURES_TABLE}, {ENTITIES_TABLE}")
        cursor.execute(_SCHEMA)
        cursor.copy_expert(
            f"COPY {ENTITIES_TABLE} FROM STDIN", _lines([str(id), array_literal(pixels[id])] for id in ids)
        )
        cursor.copy_expert(
            f"COPY {FEATURES_TABLE} FROM STDIN",
            _lines([str(id), name, array_literal(values[name][id]), now] for name in FEATURES for id in ids),
        )
        for table in (ENTITIES_TABLE, FEATURES_TABLE):
            cursor.execute(f"COMMENT ON TABLE {table} IS %s", (_mark(digits),))


def _mark(digits: Digits) -> str:
    """The data by its hash, and the features that are made of it."""
    return f"{digits.manifest['sha256']} {' '.join(f'{name}={columns}' for name, columns in FEATURES.items())}"


def _lines(rows: Iterable[list[str]]) -> io.StringIO:
    """Rows in PostgreSQL's COPY text format; nothing in them needs an escape."""
    return io.StringIO("".join("\t".join(row) + "\n" for row in rows))


def _count(connection: Connection, table: str, expected: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        (rows,) = cursor.fetchone() or (0,)
    if rows != expected:
        raise LoadError(f"load-incomplete: PostgreSQL holds {rows:,} of {expected:,} rows in table {table}")


def main() -> int:
    """Load, and say what was done."""
    start = time.monotonic()
    try:
        config = LoadConfig.from_environment(os.environ)
        digits = Digits.open(config.digits)
    except (ConfigError, DigitsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        done = load(config.postgres, digits)
    except (LoadError, psycopg2.Error) as error:
        message = str(error) if isinstance(error, LoadError) else f"postgres-failed: {str(error).strip()}"
        sys.stderr.write(f"{message}\n")
        return 1
    sys.stdout.write(f"features postgres: {done} ({time.monotonic() - start:.1f} s)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
