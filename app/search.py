"""One search: embed the question, find its neighbours in Milvus, fetch their documents from PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from app import milvus, postgres
from app.config import COLLECTION
from app.embedding import DIMENSIONS, MODEL_VERSION, Embedder, Vector
from app.shared.dependency import MILVUS, POSTGRES, Attributes, Caller

MILVUS_DEADLINE = 1.0  # seconds, retry included
POSTGRES_DEADLINE = 1.0


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
        call: Caller,
    ) -> None:
        self._embedder = embedder
        self._neighbours = neighbours
        self._documents = documents
        self._call = call

    async def search(self, query: str, top_k: int) -> list[Result]:
        """The `top_k` nearest passages, nearest first; none where no term is known. Raises DependencyError."""
        vector = self._embed(query)
        if not vector.any():
            return []
        hits = await self._call(
            MILVUS,
            "search",
            lambda: self._neighbours.search(vector, top_k),
            deadline=MILVUS_DEADLINE,
            attributes={"db.collection.name": COLLECTION, "ai.top_k": top_k},
        )
        ids = [hit.id for hit in hits]
        found = await self._call(
            POSTGRES,
            "select",
            lambda: self._documents.get(ids),
            deadline=POSTGRES_DEADLINE,
            attributes={"db.collection.name": COLLECTION, "ai.top_k": len(ids)},
        )
        return [Result(hit.id, round(hit.score, 6), *found[hit.id]) for hit in hits]

    def _embed(self, query: str) -> Vector:
        attributes: Attributes = {"ai.embedding.model": MODEL_VERSION, "ai.embedding.dimensions": DIMENSIONS}
        with self._call.tracer.start_as_current_span("embed", attributes=attributes):
            return self._embedder.embed(query)
