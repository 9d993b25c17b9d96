"""Inference: pictures of digits that the model never saw, each prediction compared with the truth.

Under the harness: `harness run slos/inference.yaml`. By hand, against a service that runs:

    SLO_ARTEFACT_DIGITS=<directory of the digits> locust -f scenarios/inference.py --host http://127.0.0.1:8080

`correct` is 1 for a right prediction and 0 for a wrong one. Every fifth prediction gets its label back by /feedback.
"""

from __future__ import annotations

import itertools
from typing import Any

from locust import task

from harness.load.users import SloUser
from scenarios.digits import ENTITIES

FEEDBACK_EVERY = 5  # prime to the number of entities and to the users' strides: no entity is left out for ever
_STRIDE = 31  # users start this far apart
_users = itertools.count()


class Inference(SloUser):
    """Asks for one prediction after the other."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    @task  # type: ignore[untyped-decorator]
    def predict(self) -> None:
        entity, label = ENTITIES[self._next % len(ENTITIES)]
        self._next += 1
        reply = self.client.post("/predict", json={"entity_id": entity}, name="predict")
        if not reply.ok:
            return
        answer = reply.json()
        self.record("correct", answer["prediction"] == label, name="predict")
        if self._next % FEEDBACK_EVERY == 0:
            body = {"prediction_id": answer["prediction_id"], "label": label}
            self.client.post("/feedback", json=body, name="feedback")
