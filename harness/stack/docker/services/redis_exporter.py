"""The exporter that speaks for Redis."""

from __future__ import annotations

from harness.stack.docker.services.declared import Declared, Rendered, Told


def _render(told: Told) -> Rendered:
    return Rendered((), {"REDIS_ADDR": f"redis://{told.peers['redis']}"})


DECLARED = Declared({"http": 9121}, _render)
