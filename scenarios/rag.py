"""A question with its context and a prediction, in one trace: /search, then /predict.

Under the harness: `harness run slos/rag.yaml`. By hand, against a service that runs:

    SLO_ARTEFACT_CORPUS=<directory of the corpus> SLO_ARTEFACT_DIGITS=<directory of the digits> \\
        locust -f scenarios/rag.py --host http://127.0.0.1:8080

`workflow_seconds` is the time from the first request's scheduled moment to the end of the second; `joined` is 1 where
both replies named the trace that was sent.
"""

from __future__ import annotations

import itertools
from typing import Any

from locust import task

from harness.load.users import SloUser
from scenarios.digits import ENTITIES
from scenarios.vector_search import QUESTIONS, TOP_K

_STRIDE = 61  # users start this far apart
_users = itertools.count()


class Rag(SloUser):
    """Asks one question after the other."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        text, exact = QUESTIONS[self._next % len(QUESTIONS)]
        entity, _ = ENTITIES[self._next % len(ENTITIES)]
        self._next += 1
        with self.client.one_trace() as trace_id:
            found = self.client.post("/search", json={"query": text, "top_k": TOP_K}, name="search")
            if not found.ok:
                return
            predicted = self.client.post("/predict", json={"entity_id": entity}, name="predict")
        passages = found.json()
        self.record("recall", len({one["id"] for one in passages["results"]} & exact) / TOP_K, name="search")
        if predicted.ok:
            self.record("workflow_seconds", (found.latency_ns + predicted.latency_ns) / 1e9, name="rag")
            joined = passages["trace_id"] == predicted.json()["trace_id"] == trace_id
            self.record("joined", joined, name="rag")
