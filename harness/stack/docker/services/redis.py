"""Redis, in memory only."""

from __future__ import annotations

from harness.stack.docker.services.declared import Declared, Rendered, Told
from harness.stack.services.redis import KEEPS_NOTHING


def _render(told: Told) -> Rendered:
    # protected-mode would refuse whoever comes from outside of the container; only the stack's own do
    options = {**KEEPS_NOTHING, "dir": told.store("/data"), "protected-mode": "no"}
    return Rendered(("redis-server", *(part for key, value in options.items() for part in (f"--{key}", value))))


DECLARED = Declared({"resp": 6379}, _render)
