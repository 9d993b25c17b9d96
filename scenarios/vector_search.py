"""Vector search: held-out questions about Python, each reply scored against the exact neighbours.

Under the harness: `harness run slos/vector_search.yaml`. By hand, against a service that runs:

    SLO_ARTEFACT_CORPUS=<directory of the corpus> locust -f scenarios/vector_search.py --host http://127.0.0.1:8080

Every user walks all questions, each from an offset of its own.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from locust import task

from harness.load.users import SloUser, artefact

TOP_K = 10
_STRIDE = 61  # users start this far apart in the questions


def read_questions() -> list[tuple[str, frozenset[int]]]:
    """(text, ids of its exact nearest TOP_K passages) of each held-out question."""
    lines = (Path(artefact("corpus")) / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["text"], frozenset(row["neighbours"][:TOP_K])) for row in rows]


QUESTIONS = read_questions()
_users = itertools.count()


class VectorSearch(SloUser):
    """Asks one question after the other and records recall@10 of each answer."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    @task  # type: ignore[untyped-decorator]
    def search(self) -> None:
        text, exact = QUESTIONS[self._next % len(QUESTIONS)]
        self._next += 1
        reply = self.client.post("/search", json={"query": text, "top_k": TOP_K}, name="search")
        if reply.ok:
            found = {result["id"] for result in reply.json()["results"]}
            self.record("recall", len(found & exact) / TOP_K, name="search")
