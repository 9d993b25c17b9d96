"""The feature store: features of one entity after the other, and how old they are.

Under the harness: `harness run slos/features.yaml`. By hand, against a service that runs:

    SLO_ARTEFACT_DIGITS=<directory of the digits> locust -f scenarios/features.py --host http://127.0.0.1:8080

`age_seconds` is the age of the oldest feature in a reply; `cached` is 1 where it came from Redis, 0 from PostgreSQL.
"""

from __future__ import annotations

import itertools
from typing import Any

from locust import task

from harness.load.users import SloUser
from scenarios.digits import ENTITIES

_STRIDE = 31  # users start this far apart
_users = itertools.count()


class Features(SloUser):
    """Reads one entity after the other."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    @task  # type: ignore[untyped-decorator]
    def read(self) -> None:
        entity, _ = ENTITIES[self._next % len(ENTITIES)]
        self._next += 1
        reply = self.client.get(f"/features/{entity}", name="features")
        if reply.ok:
            answer = reply.json()
            self.record("age_seconds", max(answer["age_seconds"].values()), name="features")
            self.record("cached", answer["source"] == "redis", name="features")
