"""The HTTP face: POST /search, GET /healthz, GET /actuator/prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Annotated

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from app.config import SERVICE, AppConfig
from app.corpus import Corpus
from app.dependency import DependencyError
from app.metrics import Metrics
from app.milvus import MilvusSearch
from app.observe import STATE, Observation, ObserveSearch
from app.postgres import Documents
from app.search import MILVUS_DEADLINE, POSTGRES_DEADLINE, SearchService
from app.shared.exposition import exposition
from app.shared.logs import LogWriter, make_logger
from app.shared.tracing import Tracing

MAX_IN_FLIGHT = 256  # searches; beyond it a quick refusal serves better than a queue
HEALTH_DEADLINE = 0.5  # seconds


class SearchRequest(BaseModel):
    """The body of POST /search."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(min_length=1, max_length=4_000)]
    top_k: Annotated[int, Field(ge=1, le=100, strict=True)] = 10


def create_app(config: AppConfig, corpus: Corpus) -> FastAPI:
    """The application. Connections are opened by its lifespan, inside the loop that serves; none is needed to start."""
    telemetry = config.telemetry
    metrics = Metrics(telemetry.time_scale)
    tracing = Tracing(telemetry.otlp, telemetry.time_scale, service=SERVICE)
    writer = LogWriter.open(telemetry, SERVICE, metrics.registry)
    embedder = corpus.embedder()
    state = _Connections()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        state.neighbours = MilvusSearch(config.stores.milvus, config.effort, MILVUS_DEADLINE)
        state.documents = Documents(config.stores.postgres, POSTGRES_DEADLINE)
        state.search = SearchService(embedder, state.neighbours, state.documents, metrics, tracing.tracer)
        yield
        state.documents.close()
        await state.neighbours.close()
        writer.close(timeout=0.3)
        tracing.close(timeout=0.4)

    app = FastAPI(title="ai-database", lifespan=lifespan, redirect_slashes=False, openapi_url=None)
    app.add_middleware(
        ObserveSearch, metrics=metrics, tracer=tracing.tracer, logger=make_logger(writer, "vector_search")
    )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # The input is not echoed: it may be long, and may hold what JSON cannot carry back.
        problems = [{"field": ".".join(map(str, one["loc"])), "problem": one["msg"]} for one in error.errors()]
        if isinstance(seen := getattr(request.state, STATE, None), Observation):
            seen.error = "invalid-request"
        return _json({"error": "invalid-request", "problems": problems}, 422)

    @app.post("/search")
    async def search(body: SearchRequest, request: Request) -> Response:
        seen: Observation = getattr(request.state, STATE)
        seen.top_k = body.top_k
        if state.in_flight >= MAX_IN_FLIGHT:
            seen.error = "overloaded"
            return _json({"error": "overloaded", "trace_id": seen.trace_id}, 503)
        state.in_flight += 1
        try:
            results = await state.search.search(body.query, body.top_k)
        except DependencyError as error:
            seen.error = f"{error.dependency}-{error.reason}"
            reply = {"error": seen.error, "dependency": error.dependency, "detail": error.detail}
            return _json({**reply, "trace_id": seen.trace_id}, 503)
        finally:
            state.in_flight -= 1
        seen.results = len(results)
        return _json({"results": results, "trace_id": seen.trace_id}, 200)

    @app.get("/healthz")
    async def healthz() -> Response:
        checks = {"milvus": state.neighbours.check(), "postgres": state.documents.check()}
        problems = await asyncio.gather(*(_problem(check) for check in checks.values()))
        wrong = {name: problem for name, problem in zip(checks, problems, strict=True) if problem}
        return _json({"status": "unhealthy" if wrong else "ok", "problems": wrong}, 503 if wrong else 200)

    @app.get("/actuator/prometheus")
    async def prometheus(request: Request) -> Response:
        body, content_type = exposition(metrics.registry, request.headers.get("accept"))
        return Response(body, headers={"content-type": content_type})

    return app


class _Connections:
    """What the lifespan opens, and how many searches use it."""

    neighbours: MilvusSearch
    documents: Documents
    search: SearchService
    in_flight = 0


async def _problem(check: Awaitable[None]) -> str | None:
    try:
        async with asyncio.timeout(HEALTH_DEADLINE):
            await check
    except DependencyError as error:
        return f"{error.reason}: {error.detail}"
    except TimeoutError:
        return f"timeout: no answer within {HEALTH_DEADLINE:g} s"
    return None


def _json(content: object, status: int) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")
