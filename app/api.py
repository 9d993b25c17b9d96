"""The endpoints that do the work: POST /search, POST /predict, POST /feedback, GET /features/ENTITY_ID."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.observe import observation
from app.observed import FEATURES, FEEDBACK, PREDICT, SEARCH
from app.reply import json_response
from app.services import Services
from app.shared.digits import CLASSES

MAX_IN_FLIGHT = 256  # of one kind; beyond it a quick refusal serves better than a queue


class SearchRequest(BaseModel):
    """The body of POST /search."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(min_length=1, max_length=4_000)]
    top_k: Annotated[int, Field(ge=1, le=100, strict=True)] = 10


class PredictRequest(BaseModel):
    """The body of POST /predict."""

    model_config = ConfigDict(extra="forbid")

    entity_id: Annotated[int, Field(ge=0, lt=2**63, strict=True)]


class FeedbackRequest(BaseModel):
    """The body of POST /feedback: the true label of what a prediction was made about."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: Annotated[str, Field(min_length=1, max_length=100)]
    label: Annotated[int, Field(ge=0, lt=CLASSES, strict=True)]


class OverloadedError(Exception):
    """More requests are under way than are worth starting another."""


class InFlight:
    """Counts what is under way. Raises OverloadedError on entry when that is the limit already."""

    def __init__(self, limit: int = MAX_IN_FLIGHT) -> None:
        self._limit = limit
        self._count = 0

    def __enter__(self) -> None:
        if self._count >= self._limit:
            raise OverloadedError
        self._count += 1

    def __exit__(self, _kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._count -= 1


def router(services: Callable[[], Services]) -> APIRouter:
    """The endpoints; `services` gives what the lifespan opened. What they raise is answered by app.web."""
    routes = APIRouter()
    searches, predictions, reads = InFlight(), InFlight(), InFlight()

    @routes.post(SEARCH)
    async def search(body: SearchRequest, request: Request) -> Response:
        seen = observation(request)
        seen.fields["top_k"] = body.top_k
        with searches:
            results = await services().search.search(body.query, body.top_k)
        seen.fields["results_count"] = len(results)
        return json_response({"results": results, "trace_id": seen.trace_id})

    @routes.post(PREDICT)
    async def predict(body: PredictRequest, request: Request) -> Response:
        seen = observation(request)
        seen.fields["entity_id"] = body.entity_id
        with predictions:
            predicted = await services().predict.predict(body.entity_id)
        answer = {
            "prediction": predicted.prediction.label,
            "probability": round(predicted.prediction.probability, 6),
            "model_name": predicted.prediction.model_name,
            "model_version": predicted.prediction.model_version,
            "prediction_id": predicted.id,
            "feature_source": predicted.feature_source,
        }
        seen.fields.update(answer)
        return json_response({**answer, "trace_id": seen.trace_id})

    @routes.post(FEEDBACK)
    async def feedback(body: FeedbackRequest, request: Request) -> Response:
        seen = observation(request)
        seen.fields.update(prediction_id=body.prediction_id, label=body.label)
        taken = services().feedback.label(body.prediction_id, body.label)
        seen.outcome = taken.outcome
        seen.fields["drift_detected"] = taken.drift_detected
        return json_response({"status": taken.outcome, "prediction_id": body.prediction_id, "trace_id": seen.trace_id})

    @routes.get(FEATURES)
    async def features(entity_id: Annotated[int, Path(ge=0, lt=2**63)], request: Request) -> Response:
        seen = observation(request)
        seen.fields["entity_id"] = entity_id
        with reads:
            found = await services().features.read(entity_id)
        now = datetime.now(UTC)
        ages = {
            name: round(max(0.0, (now - one.updated_at).total_seconds()), 6) for name, one in found.features.items()
        }
        seen.fields.update(source=found.source, age_seconds=max(ages.values()))
        return json_response(
            {
                "entity_id": entity_id,
                "features": {name: one.values for name, one in found.features.items()},
                "updated_at": {name: one.updated_at for name, one in found.features.items()},
                "age_seconds": ages,
                "source": found.source,
                "trace_id": seen.trace_id,
            }
        )

    return routes
