"""The HTTP face: the Open Inference Protocol over one model, and GET /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from app.shared.digits import Digits
from app.shared.exposition import exposition
from app.shared.features import Matrix, model_input, profile
from app.shared.logs import LogWriter, make_logger
from app.shared.tracing import Tracing
from model_server.batcher import Batcher
from model_server.config import SERVICE, ServerConfig
from model_server.endpoints import Inference
from model_server.metrics import ServerMetrics
from model_server.observe import Observe
from model_server.protocol import Refusal, model_metadata

QUEUE_ROWS = 2_048  # rows that may wait; beyond it a quick refusal serves better than a longer queue
COMPONENT = "model_server"


class Service:
    """What runs between start and stop: the batcher, and whether the model has shown that it answers."""

    def __init__(self) -> None:
        self.batcher: Batcher | None = None
        self.problem = "the first inference is not done yet"  # empty when ready

    def ready(self) -> Batcher:
        """The batcher. Raises Refusal (503) while there is nothing to rely on."""
        if self.problem or self.batcher is None or not self.batcher.running:
            raise Refusal(503, "not-ready", self.problem or "the server is stopping")
        return self.batcher

    async def first_inference(self, batcher: Batcher, rows: Matrix) -> None:
        """Ask the model about `rows` (n, 80), and be ready if what it says are probabilities."""
        found = await batcher.probe(rows)
        if np.isfinite(found).all() and np.allclose(found.sum(axis=1), 1, atol=1e-3):
            self.problem = ""
        else:
            self.problem = f"the first inference gave {found[0].tolist()}, which are no probabilities"


def create_app(config: ServerConfig, digits: Digits, compute: Callable[[Matrix], Matrix]) -> Starlette:
    """The application. `compute` is the model: (n, 80) -> (n, 10) probabilities. Raises OSError for the log file."""
    telemetry = config.telemetry
    metrics = ServerMetrics()
    tracing = Tracing(telemetry.otlp, telemetry.time_scale, service=SERVICE)
    writer = LogWriter.open(telemetry, SERVICE, metrics.registry)
    logger = make_logger(writer, COMPONENT)
    model = (digits.model_name, digits.model_version)
    entity = np.array(digits.pixels()[:1])
    service = Service()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        batcher = Batcher(
            compute, metrics, batch_size=config.batch_size, batch_wait=config.batch_wait, queue_rows=QUEUE_ROWS
        )
        service.batcher = batcher
        first = asyncio.create_task(service.first_inference(batcher, model_input(entity, profile(entity))))
        yield
        first.cancel()
        await batcher.close()
        writer.close(timeout=0.3)
        tracing.close(timeout=0.4)

    async def live(_request: Request) -> Response:
        return _json({"live": True})

    async def ready(_request: Request) -> Response:
        try:
            service.ready()
        except Refusal as refusal:
            return _json({"ready": False, "error": refusal.slug, "detail": refusal.detail}, refusal.status)
        return _json({"ready": True})

    async def metadata(_request: Request) -> Response:
        return Response(model_metadata(*model), media_type="application/json")

    async def prometheus(request: Request) -> Response:
        body, content_type = exposition(metrics.registry, request.headers.get("accept"))
        return Response(body, headers={"content-type": content_type})

    async def elsewhere(request: Request) -> Response:
        name, rest = request.path_params["name"], request.path_params.get("rest", "")
        if name != model[0]:
            return _json({"error": "unknown-model", "detail": f"{name[:80]!r} is not here, {model[0]!r} is"}, 404)
        raise HTTPException(405, headers={"allow": "POST"}) if rest in endpoints else HTTPException(404)

    inference = Inference(service.ready, model, metrics, tracing.tracer)
    observed = partial(Observe, model=model, metrics=metrics, tracer=tracing.tracer, logger=logger)
    root = f"/v2/models/{model[0]}"
    endpoints: dict[str, ASGIApp] = {"infer": inference.infer, "infer_stream": inference.infer_stream}
    app = Starlette(
        routes=[
            *(
                Route(f"{root}/{name}", observed(endpoint, name=name, path=f"{root}/{name}"), methods=["POST"])
                for name, endpoint in endpoints.items()
            ),
            Route("/v2/health/live", live),
            Route("/v2/health/ready", ready),
            Route(root, metadata),
            Route("/metrics", prometheus),
            Route("/v2/models/{name}", elsewhere, methods=["GET", "POST"]),
            Route("/v2/models/{name}/{rest:path}", elsewhere, methods=["GET", "POST"]),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error, Exception: _internal_error},
    )
    app.router.redirect_slashes = False
    return app


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "refused")
    return _json({"error": slug, "detail": error.detail}, error.status_code, error.headers)


async def _internal_error(_request: Request, _error: Exception) -> Response:
    return _json({"error": "internal", "detail": "the server failed; its own output says how"}, 500)


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")
