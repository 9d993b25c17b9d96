"""A load that is driven to its end, as the gate drives it."""

from __future__ import annotations

from harness.load.engine import LoadEngine
from harness.model.events import LoadTick


def to_the_end(engine: LoadEngine) -> list[LoadTick]:
    """Prepare, start and follow a load; returns its ticks. Nothing of it is left, whatever is raised."""
    try:
        engine.prepare()
        engine.start()
        return list(engine.ticks())
    finally:
        engine.stop()
