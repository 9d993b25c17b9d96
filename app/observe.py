"""Around every request to an observed route, whatever becomes of it: one count, one latency, one span, one log line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import Request
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from prometheus_client import Gauge, Histogram
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from app.reply import json_response
from app.shared.tracing import parent_of

STATE = "seen"  # the key in scope["state"] under which the handler finds its Observation


@dataclass(slots=True)
class Observation:
    """What the handler tells about a request beyond its status.

    trace_id: 32 hexadecimal digits. error: a slug. outcome: what it counts as, where the route counts outcomes.
    fields: of the log line.
    """

    trace_id: str
    error: str | None = None
    outcome: str = "invalid"
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """A route and what is said about each of its requests.

    path: as the router has it. workflow: the span's ai.workflow.type. fields: of every log line, unless the handler
    says otherwise. arrived, failed: called for each request, and for each that was answered with 500 or more.
    ended: called with the observation of each.
    """

    method: str
    path: str
    workflow: str
    event: str
    logger: FilteringBoundLogger
    latency: Histogram
    fields: Mapping[str, object]
    attributes: Mapping[str, str]
    arrived: Sequence[Callable[[], None]]
    failed: Callable[[], None] | None
    ended: Callable[[Observation], None] | None = None


def observation(request: Request) -> Observation:
    """That of the request."""
    seen: Observation = getattr(request.state, STATE)
    return seen


class Observe:
    """ASGI middleware. Routes that are not observed pass through untouched."""

    def __init__(self, app: ASGIApp, routes: Sequence[Observed], tracer: Tracer, in_flight: Gauge) -> None:
        self._app = app
        self._routes = [(route.method, compile_path(route.path)[0], route) for route in routes]
        self._tracer = tracer
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count on arrival, so that a request that is cut off in the middle counts too."""
        route = self._find(scope) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        for count in route.arrived:
            count()
        self._in_flight.inc()
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        attributes = {
            "http.request.method": route.method,
            "http.route": route.path,
            "url.path": scope["path"],
            "ai.workflow.type": route.workflow,
            **route.attributes,
        }
        status, begun = 500, False  # what a handler that raises amounts to

        async def watch(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
            await send(message)

        with self._tracer.start_as_current_span(
            f"{route.method} {route.path}", context=parent_of(headers), kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            context = span.get_span_context()
            seen = Observation(trace_id=f"{context.trace_id:032x}")
            scope.setdefault("state", {})[STATE] = seen
            try:
                await self._app(scope, receive, watch)
            except asyncio.CancelledError:  # by the end of the server alone, after its patience
                seen.error = "stopping"
                if not begun:
                    await json_response({"error": "stopping", "trace_id": seen.trace_id}, 503)(scope, receive, watch)
            finally:
                seconds = time.perf_counter() - start
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(StatusCode.ERROR, seen.error or f"status {status}")
                self._in_flight.dec()
                _record(route, status, seconds, seen, f"{context.span_id:016x}")

    def _find(self, scope: Scope) -> Observed | None:
        method, path = scope["method"], scope["path"]
        return next((route for verb, form, route in self._routes if verb == method and form.match(path)), None)


def _record(route: Observed, status: int, seconds: float, seen: Observation, span_id: str) -> None:
    route.latency.observe(seconds)
    if status >= 500 and route.failed is not None:
        route.failed()
    if route.ended is not None:
        route.ended(seen)
    word = "success" if status < 400 else "invalid" if status < 500 else "error"
    fields = {
        "trace_id": seen.trace_id,
        "span_id": span_id,
        **route.fields,
        **seen.fields,
        "latency_ms": round(seconds * 1_000, 3),
        "status": word,
    }
    if "outcome" in route.fields:
        fields["outcome"] = seen.outcome
    if seen.error is not None:
        fields["error"] = seen.error
    log = {"success": route.logger.info, "invalid": route.logger.warning, "error": route.logger.error}[word]
    log(route.event, **fields)
