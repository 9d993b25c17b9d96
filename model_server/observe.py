"""Around every inference request, whatever becomes of it: one count, one latency, one span, one log line."""

from __future__ import annotations

import time
from dataclasses import dataclass

from opentelemetry.trace import SpanKind, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from app.shared.tracing import parent_of
from model_server.metrics import ServerMetrics

STATE = "inference"  # the key in scope["state"] under which the endpoint finds its Observation


@dataclass(slots=True)
class Observation:
    """What becomes of a request. `arrived` is time.perf_counter, `status` None until a reply has begun."""

    arrived: float
    status: int | None = None
    rows: int | None = None
    batches: int = 0
    queue_seconds: float | None = None
    error: str | None = None
    streaming: bool = False
    gone: bool = False


class Observe:
    """ASGI middleware around one endpoint, whose `path` names the span and whose `name` is the label."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        name: str,
        path: str,
        model: tuple[str, str],
        metrics: ServerMetrics,
        tracer: Tracer,
        logger: FilteringBoundLogger,
    ) -> None:
        """`model` is its name and version."""
        self._app = app
        self._name = name
        self._span = f"POST {path}"
        self._version = model[1]
        self._attributes = {
            "http.request.method": "POST",
            "http.route": path,
            "url.path": path,
            "ai.workflow.type": "inference",
            "ai.model.name": model[0],
            "ai.model.version": model[1],
        }
        self._requests = metrics.requests.labels(name)
        self._errors = metrics.errors.labels(name)
        self._duration = metrics.duration.labels(name)
        self._in_flight = metrics.in_flight
        self._tracer = tracer
        self._logger = logger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count on arrival, so that a request that is cut off in the middle counts too."""
        self._requests.inc()
        self._in_flight.inc()
        seen = Observation(arrived=time.perf_counter())
        scope.setdefault("state", {})[STATE] = seen
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
            await send(message)

        with self._tracer.start_as_current_span(
            self._span, context=parent_of(headers), kind=SpanKind.SERVER, attributes=self._attributes
        ) as span:
            try:
                await self._app(scope, receive, watch)
            finally:
                seconds = time.perf_counter() - seen.arrived
                status = seen.status or 500  # what an endpoint that raises amounts to
                word = _word(status, seen)
                if word != "cancelled":
                    span.set_attribute("http.response.status_code", status)
                if word == "error":
                    span.set_status(StatusCode.ERROR, seen.error or f"status {status}")
                context = span.get_span_context()
                self._record(word, seconds, seen, f"{context.trace_id:032x}", f"{context.span_id:016x}")

    def _record(self, word: str, seconds: float, seen: Observation, trace_id: str, span_id: str) -> None:
        self._in_flight.dec()
        self._duration.observe(seconds)
        if word == "error":
            self._errors.inc()
        fields: dict[str, object] = {
            "trace_id": trace_id,
            "span_id": span_id,
            "model_version": self._version,
            "rows": seen.rows,
            "batches": seen.batches,
            "latency_ms": round(seconds * 1_000, 3),
            "queue_ms": None if seen.queue_seconds is None else round(seen.queue_seconds * 1_000, 3),
            "status": word,
        }
        if seen.error is not None:
            fields["error"] = seen.error
        if word == "success":
            self._logger.info(self._name, **fields)
        elif word == "error":
            self._logger.error(self._name, **fields)
        else:
            self._logger.warning(self._name, **fields)


def _word(status: int, seen: Observation) -> str:
    if seen.gone:
        return "cancelled"
    if seen.error is None:
        return "success" if status < 400 else "error"
    return "invalid" if 400 <= status < 500 else "error"
