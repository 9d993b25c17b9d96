"""One search: embed the question, find its neighbours in Milvus, fetch their documents from PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from opentelemetry.trace import SpanKind, StatusCode, Tracer

from app import milvus, postgres
from app.config import COLLECTION
from app.dependency import DependencyError, call
from app.embedding import DIMENSIONS, MODEL_VERSION, Embedder, Vector
from app.metrics import Metrics

MILVUS_DEADLINE = 1.0  # seconds, retry included
POSTGRES_DEADLINE = 1.0

T = TypeVar("T")
Attributes = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Result:
    """One passage found; `score` is the cosine, `text` the beginning of the passage."""

    id: int
    score: float
    title: str
    text: str


class SearchService:
    """Everything a search needs. Make it inside the event loop that uses it."""

    def __init__(
        self,
        embedder: Embedder,
        neighbours: milvus.MilvusSearch,
        documents: postgres.Documents,
        metrics: Metrics,
        tracer: Tracer,
    ) -> None:
        self._embedder = embedder
        self._neighbours = neighbours
        self._documents = documents
        self._metrics = metrics
        self._tracer = tracer

    async def search(self, query: str, top_k: int) -> list[Result]:
        """The `top_k` nearest passages, nearest first; none where no term is known. Raises DependencyError."""
        vector = self._embed(query)
        if not vector.any():
            return []
        hits = await self._traced(
            milvus.NAME, "search", lambda: self._neighbours.search(vector, top_k), MILVUS_DEADLINE, top_k
        )
        ids = [hit.id for hit in hits]
        found = await self._traced(
            postgres.NAME, "select", lambda: self._documents.get(ids), POSTGRES_DEADLINE, len(ids)
        )
        return [Result(hit.id, round(hit.score, 6), *found[hit.id]) for hit in hits]

    def _embed(self, query: str) -> Vector:
        attributes: Attributes = {"ai.embedding.model": MODEL_VERSION, "ai.embedding.dimensions": DIMENSIONS}
        with self._tracer.start_as_current_span("embed", attributes=attributes):
            return self._embedder.embed(query)

    async def _traced(
        self, name: str, operation: str, attempt: Callable[[], Awaitable[T]], deadline: float, rows: int
    ) -> T:
        attributes: Attributes = {
            "db.system.name": "postgresql" if name == postgres.NAME else name,
            "db.operation.name": operation,
            "db.collection.name": COLLECTION,
            "ai.top_k": rows,
        }
        with self._tracer.start_as_current_span(
            f"{name}.{operation}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await call(name, attempt, deadline=deadline, metrics=self._metrics)
            except DependencyError as error:
                span.set_attribute("error.type", error.reason)
                span.set_status(StatusCode.ERROR, error.detail)
                raise
