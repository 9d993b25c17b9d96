"""Vector search straight at Milvus: the same questions as those of vector_search, without the service in between.

Under the harness: `harness run examples/milvus_search.yaml`. By hand, against a Milvus that holds the corpus:

    SLO_ARTEFACT_CORPUS=<directory of the corpus> SLO_ADDRESS_MILVUS_GRPC=127.0.0.1:19530 \\
        locust -f scenarios/milvus_search.py

SLO_SEARCH_EFFORT: lists of the index that a search reads, 1 to 256 (default 96). All requests are encoded before the
load begins; `recall` is recall@10 against the exact neighbours.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
from locust import task

from harness.load.users import address, artefact
from harness.load.users.milvus import MilvusUser, Search
from scenarios.vector_search import QUESTIONS, TOP_K

NAME = "milvus-search"
_NEAREST = Search("documents", top_k=TOP_K, params={"nprobe": int(os.environ.get("SLO_SEARCH_EFFORT", "96"))})
REQUESTS = [_NEAREST.encode(vector) for vector in np.load(Path(artefact("corpus")) / "query_vectors.npy")]
_STRIDE = 61  # users start this far apart
_users = itertools.count()


class MilvusSearch(MilvusUser):
    """Asks one question after the other and records recall@10 of each answer."""

    host = address("milvus", "grpc")

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    def on_start(self) -> None:
        """A server counts no search before its first: one that is no part of the load makes its counter exist."""
        self.client.search(REQUESTS[0], name=None)

    @task  # type: ignore[untyped-decorator]
    def search(self) -> None:
        number = self._next % len(REQUESTS)
        self._next += 1
        reply = self.client.search(REQUESTS[number], name=NAME)
        if reply.ok:
            self.record("recall", len(QUESTIONS[number][1].intersection(reply.ids)) / TOP_K, name=NAME)
