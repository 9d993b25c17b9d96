"""One prediction: the entity's features, then the model server."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from app.features import FeatureStore
from app.model_client import ModelClient, Prediction
from app.monitor import RecentPredictions
from app.shared.dependency import MODEL_SERVER, Attributes, Caller
from app.shared.features import model_input

MODEL_DEADLINE = 1.5  # seconds, retry included


@dataclass(frozen=True, slots=True)
class Predicted:
    """A prediction, the id by which it can be labelled, and where its features were: redis or postgres."""

    id: str
    prediction: Prediction
    feature_source: str


class PredictService:
    """Everything a prediction needs. Make it inside the event loop that uses it."""

    def __init__(
        self,
        store: FeatureStore,
        model: ModelClient,
        recent: RecentPredictions,
        call: Caller,
        attributes: Attributes,
    ) -> None:
        """`attributes` of the span of the call to the model server."""
        self._store = store
        self._model = model
        self._recent = recent
        self._call = call
        self._attributes = attributes

    async def predict(self, entity_id: int) -> Predicted:
        """Raises UnknownEntityError and DependencyError."""
        found = await self._store.read(entity_id)
        columns = {name: feature.values[None, :] for name, feature in found.features.items()}
        row = model_input(columns["pixels"], columns["profile"])
        prediction = await self._call(
            MODEL_SERVER,
            "infer",
            lambda: self._model.predict(row),
            deadline=MODEL_DEADLINE,
            attributes=self._attributes,
        )
        predicted = Predicted(uuid.uuid4().hex, prediction, found.source)
        self._recent.add(predicted.id, prediction.label)
        return predicted
