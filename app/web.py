"""The HTTP face: what is put together, what failures are answered with, GET /healthz, GET /actuator/prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from app.api import OverloadedError, router
from app.config import SERVICE, AppConfig
from app.corpus import Corpus
from app.features import UnknownEntityError
from app.feedback import UnknownPredictionError
from app.health import problems
from app.metrics import Metrics
from app.observe import STATE, Observation, Observe
from app.observed import observed_routes
from app.reply import json_response
from app.services import Services
from app.shared.dependency import DependencyError
from app.shared.digits import Digits
from app.shared.exposition import exposition
from app.shared.logs import LogWriter
from app.shared.tracing import Tracing


def create_app(config: AppConfig, corpus: Corpus, digits: Digits) -> FastAPI:
    """The application. Connections are opened by its lifespan, inside the loop that serves; none is needed to start.

    Raises OSError for the log file.
    """
    telemetry = config.telemetry
    metrics = Metrics(digits.model_name, digits.model_version, telemetry.time_scale)
    tracing = Tracing(telemetry.otlp, telemetry.time_scale, service=SERVICE)
    writer = LogWriter.open(telemetry, SERVICE, metrics.registry)
    embedder = corpus.embedder()
    opened: list[Services] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        opened.append(Services(config, digits, embedder, metrics, tracing.tracer))
        yield
        await opened[0].close()
        writer.close(timeout=0.3)
        tracing.close(timeout=0.4)

    app = FastAPI(title=SERVICE, lifespan=lifespan, redirect_slashes=False, openapi_url=None)
    app.add_middleware(
        Observe, routes=observed_routes(metrics, writer, digits), tracer=tracing.tracer, in_flight=metrics.in_flight
    )
    app.include_router(router(lambda: opened[0]))
    _answer_failures(app)

    @app.get("/healthz")
    async def healthz(request: Request) -> Response:
        """?exclude=NAME,NAME leaves dependencies out, as Kubernetes' /readyz has it; unknown names mean nothing."""
        exclude = {name for value in request.query_params.getlist("exclude") for name in value.split(",")}
        wrong = await problems(opened[0].checks(exclude))
        return json_response({"status": "unhealthy" if wrong else "ok", "problems": wrong}, 503 if wrong else 200)

    @app.get("/actuator/prometheus")
    async def prometheus(request: Request) -> Response:
        body, content_type = exposition(metrics.registry, request.headers.get("accept"))
        return Response(body, headers={"content-type": content_type})

    return app


def _answer_failures(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # The input is not echoed: it may be long, and may hold what JSON cannot carry back.
        wrong = [{"field": ".".join(map(str, one["loc"])), "problem": one["msg"]} for one in error.errors()]
        return _failure(request, 422, "invalid-request", problems=wrong)

    @app.exception_handler(OverloadedError)
    async def overloaded(request: Request, _error: OverloadedError) -> Response:
        return _failure(request, 503, "overloaded")

    @app.exception_handler(DependencyError)
    async def dependency(request: Request, error: DependencyError) -> Response:
        return _failure(request, 503, error.slug, dependency=error.dependency, detail=error.detail)

    @app.exception_handler(UnknownEntityError)
    async def unknown_entity(request: Request, error: UnknownEntityError) -> Response:
        return _failure(request, 404, "unknown-entity", detail=str(error))

    @app.exception_handler(UnknownPredictionError)
    async def unknown_prediction(request: Request, error: UnknownPredictionError) -> Response:
        return _failure(request, 404, "unknown-prediction", outcome="unknown", detail=str(error))


def _failure(request: Request, status: int, slug: str, *, outcome: str = "invalid", **more: object) -> Response:
    """The reply to a request that failed, noted for its span, its log line and its count."""
    reply: dict[str, object] = {"error": slug, **more}
    if isinstance(seen := getattr(request.state, STATE, None), Observation):
        seen.error, seen.outcome = slug, outcome
        reply["trace_id"] = seen.trace_id
    return json_response(reply, status)
