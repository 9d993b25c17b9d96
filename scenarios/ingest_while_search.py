"""Inserts into Milvus while others search: how long until what was inserted is found, and how good the searches are.

Under the harness: `harness run examples/ingest_while_search.yaml`. By hand, against a Milvus:

    SLO_ARTEFACT_CORPUS=<directory of the corpus> SLO_ADDRESS_MILVUS_GRPC=127.0.0.1:19530 \\
        locust -f scenarios/ingest_while_search.py -u 8

It makes a collection of its own, slo_ingest_<host>_<process>, with the first SLO_INGEST_BASE vectors of the corpus
(default 2000), and drops it afterwards; one that a killed process left is dropped by the next on the same host. Of
two tasks one inserts SLO_INGEST_BATCH vectors (default 10), each a copy of one of the corpus' others, and then searches
for the last of them until it is found. At SLO_INGEST_MOST vectors (default 100000) inserts stop, each with an error.

`searchable_seconds`: from the beginning of the insert until it was found; `found`: 1, or 0 after SLO_INGEST_PATIENCE
seconds (default 10). `recall`: recall@10 of other searches, by what can be known meanwhile: with m of the inserted in
an answer, the others must be the 10 - m nearest of the base.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
from locust import events, task
from pymilvus.grpc_gen import milvus_pb2

from harness.load.users import address, artefact
from harness.load.users.milvus import MilvusUser, Search
from scenarios.milvus_collection import Collection

INSERT, SEARCH = "milvus-insert", "milvus-search"
BASE = int(os.environ.get("SLO_INGEST_BASE", "2000"))
BATCH = int(os.environ.get("SLO_INGEST_BATCH", "10"))
MOST = int(os.environ.get("SLO_INGEST_MOST", "100000"))
PATIENCE = float(os.environ.get("SLO_INGEST_PATIENCE", "10"))
TOP_K = 10
PAUSE = 0.05  # seconds between two looks at whether it is there
_PREFIX = f"slo_ingest_{''.join(one if one.isalnum() else '_' for one in socket.gethostname())}_"
ADDRESS = address("milvus", "grpc")
COLLECTION = Collection(ADDRESS, f"{_PREFIX}{os.getpid()}")

_vectors = np.load(Path(artefact("corpus")) / "vectors.npy")
_base, _others = _vectors[:BASE], _vectors[BASE:]
_queries = np.load(Path(artefact("corpus")) / "query_vectors.npy")
NEAREST = np.argsort(-(_queries @ _base.T), axis=1, kind="stable")[:, :TOP_K]  # exact, of the base alone
_search = Search(COLLECTION.name, top_k=TOP_K, params={}, consistency="Eventually")
REQUESTS = [_search.encode(vector) for vector in _queries]
_users, _inserted = itertools.count(), itertools.count()


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def make_collection(environment: Any, **_: Any) -> None:
    """With the base in it, searchable."""
    for name in COLLECTION.names():
        if name.startswith(_PREFIX) and not Path("/proc", name.removeprefix(_PREFIX)).exists():
            COLLECTION.drop(name)
    COLLECTION.create(_base)


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def drop_collection(environment: Any, **_: Any) -> None:
    """Whatever came of the load."""
    COLLECTION.drop()
    COLLECTION.close()


class Inserter(MilvusUser):
    """Inserts a batch and looks for it until it is found."""

    host = ADDRESS

    @task  # type: ignore[untyped-decorator]
    def insert(self) -> None:
        batch = next(_inserted)
        first = BASE + batch * BATCH
        if first + BATCH > MOST:
            raise RuntimeError(f"{MOST} vectors are inserted, as many as SLO_INGEST_MOST allows")
        rows = _others[np.arange(batch * BATCH, (batch + 1) * BATCH) % len(_others)]
        start = time.monotonic()
        reply = self.client.ask("Insert", COLLECTION.insertion(first, rows), milvus_pb2.MutationResult, name=INSERT)
        if not reply.ok:
            return
        last, request = first + BATCH - 1, _search.encode(rows[-1])
        while not (there := last in self.client.search(request, name=SEARCH).ids):
            if time.monotonic() - start > PATIENCE:
                break
            time.sleep(PAUSE)
        self.record("found", there, name=INSERT)
        if there:
            self.record("searchable_seconds", time.monotonic() - start, name=INSERT)


class Searcher(MilvusUser):
    """Asks the corpus' held-out questions."""

    host = ADDRESS

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * 61

    @task  # type: ignore[untyped-decorator]
    def search(self) -> None:
        number = self._next % len(REQUESTS)
        self._next += 1
        reply = self.client.search(REQUESTS[number], name=SEARCH)
        if not reply.ok:
            return
        base = [one for one in reply.ids if one < BASE]
        wanted = TOP_K - (len(reply.ids) - len(base))
        if wanted:
            right = set(NEAREST[number, :wanted].tolist())
            self.record("recall", len(right.intersection(base)) / wanted, name=SEARCH)
