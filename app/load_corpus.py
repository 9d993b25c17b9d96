"""`python -m app.load_corpus`: put the corpus into PostgreSQL and Milvus, and prove that it is there.

Both sides carry the artefact's hash (a table comment, a collection description), so that a second run only verifies.
Exit code 0 when every row and every indexed vector was counted, 1 when not, 2 for a configuration that cannot be used.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import psycopg2
from psycopg2.extensions import connection as Connection

from app.config import COLLECTION, INDEX_LISTS, StoreConfig
from app.corpus import Corpus, CorpusError, Passage
from app.embedding import DIMENSIONS
from app.shared.environment import ConfigError

BATCH = 5_120
DEADLINE = 40.0  # seconds, for any one wait
CALL_TIMEOUT = 10.0  # seconds, for one call
INDEX = {"index_type": "IVF_FLAT", "metric_type": "IP", "params": {"nlist": INDEX_LISTS}}
STATE_SEALED = 3  # common.proto, SegmentState


class LoadError(Exception):
    """The data is not there as it should be; the message says what was found where."""


def load_postgres(dsn: str, corpus: Corpus) -> str:
    """Table `documents` (id, source, title, text) by COPY in one transaction. Returns what was done."""
    mark = str(corpus.manifest["sha256"])
    connection = psycopg2.connect(dsn, connect_timeout=5, options="-c statement_timeout=60000")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT obj_description(to_regclass(%s))", (COLLECTION,))
            present = cursor.fetchone() == (mark,)
            if not present:
                cursor.execute(f"DROP TABLE IF EXISTS {COLLECTION}")
                cursor.execute(
                    f"CREATE TABLE {COLLECTION} (id bigint PRIMARY KEY, source text NOT NULL, "
                    "title text NOT NULL, text text NOT NULL)"
                )
                cursor.copy_expert(f"COPY {COLLECTION} FROM STDIN", _CopyStream(corpus.passages()))
                cursor.execute(f"COMMENT ON TABLE {COLLECTION} IS %s", (mark,))
            cursor.execute(f"SELECT count(*) FROM {COLLECTION}")
            (rows,) = cursor.fetchone() or (0,)
        if rows != corpus.size:
            raise LoadError(f"load-incomplete: PostgreSQL holds {rows:,} of {corpus.size:,} documents")
        _analyse(connection)
    finally:
        connection.close()
    return f"postgres: {rows:,} documents {'were there' if present else 'copied'}"


def load_milvus(address: str, corpus: Corpus) -> str:
    """Collection `documents`: insert, seal, index, load, then count it all. Returns what was done. Raises LoadError."""
    from pymilvus import DataType, MilvusClient, MilvusException

    mark = f"{corpus.manifest['sha256']} {INDEX['index_type']} nlist={INDEX_LISTS}"
    try:
        client = MilvusClient(f"http://{address}", timeout=CALL_TIMEOUT)
        exists = client.has_collection(COLLECTION, timeout=CALL_TIMEOUT)
        present = exists and client.describe_collection(COLLECTION, timeout=CALL_TIMEOUT)["description"] == mark
        if not present:
            if exists:
                client.drop_collection(COLLECTION, timeout=CALL_TIMEOUT)
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=mark)
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
            client.create_collection(COLLECTION, schema=schema, shards_num=1, consistency_level="Bounded")
            index = client.prepare_index_params()
            index.add_index("vector", **INDEX)
            client.create_index(COLLECTION, index, sync=False)
            vectors = corpus.vectors()
            for start in range(0, corpus.size, BATCH):
                rows = range(start, min(start + BATCH, corpus.size))
                data = [{"id": row, "vector": vectors[row]} for row in rows]
                client.insert(COLLECTION, data, timeout=CALL_TIMEOUT)
        if not present or _unserved(client, corpus.size):  # a first run may have been killed half way
            client.flush(COLLECTION, timeout=DEADLINE)
            # Loading an unindexed segment would leave it unindexed in memory for seconds more: index first.
            _until(lambda: _unindexed(client, corpus.size))
            client.load_collection(COLLECTION, timeout=DEADLINE)
        _until(lambda: _unindexed(client, corpus.size) or _unserved(client, corpus.size))
        client.close()
    except MilvusException as error:
        raise LoadError(f"milvus-failed: {error.message} (code {error.code}) at {address}") from error
    return f"milvus: {corpus.size:,} vectors {'were there' if present else 'inserted'}, sealed and indexed"


def _unindexed(client: object, total: int) -> str:
    """What is missing of the finished index over all rows; empty when nothing is."""
    state = client.describe_index(COLLECTION, "vector", timeout=CALL_TIMEOUT)  # type: ignore[attr-defined]
    found = f"{state['indexed_rows']:,} of {total:,} vectors indexed, state {state['state']}"
    done = state["indexed_rows"] == state["total_rows"] == total and state["state"] == "Finished"
    return "" if done else f"index-unfinished: {found}"


def _unserved(client: object, total: int) -> str:
    """What is missing of sealed, indexed segments in the query node's memory; empty when nothing is."""
    handler = client._get_connection()  # type: ignore[attr-defined]
    segments = handler.get_query_segment_info(COLLECTION, timeout=CALL_TIMEOUT)
    rows = sum(segment.num_rows for segment in segments if segment.state == STATE_SEALED and segment.index_name)
    if rows == total and len({segment.segmentID for segment in segments}) == len(segments):
        return ""
    found = [(segment.num_rows, segment.state, segment.index_name or "no index") for segment in segments]
    return f"segments-unsealed: {rows:,} of {total:,} rows in sealed, indexed segments: {found}"


def _until(missing: Callable[[], str]) -> None:
    deadline = time.monotonic() + DEADLINE
    while problem := missing():
        if time.monotonic() > deadline:
            raise LoadError(f"{problem} after {DEADLINE:.0f} s")
        time.sleep(0.05)


def _analyse(connection: Connection) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {COLLECTION}")


class _CopyStream:
    """Passages in PostgreSQL's COPY text format, read by psycopg2 in pieces."""

    def __init__(self, passages: Iterator[Passage]) -> None:
        self._passages = passages

    def read(self, _size: int = -1) -> str:
        """Some lines; empty at the end."""
        lines = []
        for passage in self._passages:
            columns = (str(passage.id), passage.source, passage.title, passage.text)
            lines.append("\t".join(map(_copy_escape, columns)) + "\n")
            if len(lines) == 16:  # about 8 kB, the size psycopg2 asks for
                break
        return "".join(lines)


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copy_escape(text: str) -> str:
    return text.translate(_ESCAPES)


def main() -> int:
    """Load both stores at once."""
    start = time.monotonic()
    try:
        config = StoreConfig.from_environment(os.environ)
        corpus = Corpus.open(config.corpus)
    except (ConfigError, CorpusError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    pool = ThreadPoolExecutor(2)
    jobs = (pool.submit(load_postgres, config.postgres, corpus), pool.submit(load_milvus, config.milvus, corpus))
    for job in as_completed(jobs):
        try:
            sys.stdout.write(f"corpus {job.result()} ({time.monotonic() - start:.1f} s)\n")
            sys.stdout.flush()
        except (LoadError, psycopg2.Error) as error:
            message = str(error) if isinstance(error, LoadError) else f"postgres-failed: {str(error).strip()}"
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()
            os._exit(1)  # the other half may sit in a wait of its own; there is nothing left to tidy
    return 0


if __name__ == "__main__":
    sys.exit(main())
