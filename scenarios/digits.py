"""The entities of the digits artefact, as scenarios use them."""

from __future__ import annotations

import json
from pathlib import Path

from harness.load.users import artefact


def read_entities() -> list[tuple[int, int]]:
    """(entity id, true label) of each picture that the model never saw."""
    lines = (Path(artefact("digits")) / "entities.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["entity_id"], row["label"]) for row in map(json.loads, lines)]


ENTITIES = read_entities()
