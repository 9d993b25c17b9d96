"""Around every POST /search, whatever becomes of it: one count, one latency, one span, one log line."""

from __future__ import annotations

import time
from dataclasses import dataclass

from opentelemetry.trace import SpanKind, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from app.config import COLLECTION
from app.embedding import DIMENSIONS, MODEL_VERSION
from app.metrics import Metrics
from app.shared.tracing import parent_of

PATH = "/search"
STATE = "search"  # the key in scope["state"] under which the handler finds its Observation


@dataclass(slots=True)
class Observation:
    """What the handler tells about a search beyond its status. `trace_id` is 32 hexadecimal digits."""

    trace_id: str
    top_k: int | None = None
    results: int = 0
    error: str | None = None


class ObserveSearch:
    """ASGI middleware. Other routes pass through untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer, logger: FilteringBoundLogger) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._logger = logger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count on arrival, so that a search that is cut off in the middle counts too."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        self._metrics.search_requests.inc()
        self._metrics.search_rate.mark()
        self._metrics.in_flight.inc()
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        attributes = {
            "http.request.method": "POST",
            "http.route": PATH,
            "url.path": PATH,
            "ai.workflow.type": "vector_search",
            "ai.embedding.model": MODEL_VERSION,
        }
        status = 500  # what a handler that raises or is cancelled amounts to

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracer.start_as_current_span(
            f"POST {PATH}", context=parent_of(headers), kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            context = span.get_span_context()
            seen = Observation(trace_id=f"{context.trace_id:032x}")
            scope.setdefault("state", {})[STATE] = seen
            try:
                await self._app(scope, receive, watch)
            finally:
                seconds = time.perf_counter() - start
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(StatusCode.ERROR, seen.error or f"status {status}")
                self._record(status, seconds, seen, f"{context.span_id:016x}")

    def _record(self, status: int, seconds: float, seen: Observation, span_id: str) -> None:
        self._metrics.in_flight.dec()
        self._metrics.search_latency.observe(seconds)
        if status >= 500:
            self._metrics.search_errors.inc()
        word = "success" if status < 400 else "invalid" if status < 500 else "error"
        fields: dict[str, object] = {
            "trace_id": seen.trace_id,
            "span_id": span_id,
            "operation": "vector_search",
            "query_type": "semantic",
            "collection": COLLECTION,
            "top_k": seen.top_k,
            "latency_ms": round(seconds * 1_000, 3),
            "results_count": seen.results,
            "embedding_dim": DIMENSIONS,
            "model_version": MODEL_VERSION,
            "status": word,
        }
        if seen.error is not None:
            fields["error"] = seen.error
        log = {"success": self._logger.info, "invalid": self._logger.warning, "error": self._logger.error}[word]
        log("search", **fields)
