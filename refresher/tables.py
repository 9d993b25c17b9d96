"""The refresher's two statements, and the binary form in which PostgreSQL gives the pixels of all entities at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from app.shared.dependency import POSTGRES, DependencyError
from app.shared.feature_store import ENTITIES_TABLE, FEATURES_TABLE, array_literal
from app.shared.features import FEATURES, Matrix
from app.shared.postgres import Connections

# array_send is PostgreSQL's own binary form: 20 bytes of head for one dimension, then length (4) and value of each.
_HEAD = 20
_SELECT = f"""
SELECT array_agg(entity_id ORDER BY entity_id), string_agg(array_send(pixels), '' ORDER BY entity_id)
FROM {ENTITIES_TABLE}
"""
_UPSERT = f"""
INSERT INTO {FEATURES_TABLE} AS f (entity_id, feature_name, "values", updated_at)
SELECT entity_id, 'pixels', pixels, %s FROM {ENTITIES_TABLE} WHERE entity_id = ANY(%s)
UNION ALL
SELECT entity_id, 'profile', literal::real[], %s FROM unnest(%s::bigint[], %s::text[]) AS p (entity_id, literal)
ON CONFLICT (entity_id, feature_name) DO UPDATE SET "values" = excluded."values", updated_at = excluded.updated_at
"""


async def read_pixels(connections: Connections) -> tuple[list[int], Matrix]:
    """The ids of all entities, and (entities, 64) float32. Raises DependencyError."""
    ((ids, packed),) = await connections.query(_SELECT)
    if not ids:
        raise DependencyError(POSTGRES, "incomplete", f"table {ENTITIES_TABLE} is empty, run app.load_features")
    return ids, unpack(bytes(packed), len(ids), FEATURES["pixels"])


async def write_features(connections: Connections, ids: Sequence[int], profiles: Matrix, at: datetime) -> None:
    """Both features of every entity in one statement, with `at` as their updated_at. Raises DependencyError."""
    literals = [array_literal(row) for row in profiles]
    await connections.query(_UPSERT, (at, list(ids), at, list(ids), literals))


def unpack(packed: bytes, rows: int, columns: int) -> Matrix:
    """`rows` arrays of `columns` real in PostgreSQL's binary form -> (rows, columns). Raises DependencyError."""
    width = _HEAD + 8 * columns
    if len(packed) != rows * width:
        raise DependencyError(
            POSTGRES, "damaged", f"{len(packed):,} bytes of {rows:,} arrays, expected {columns} numbers in each"
        )
    table: Any = np.frombuffer(packed, np.uint8).reshape(rows, width)[:, _HEAD:]
    pairs = np.ascontiguousarray(table).view(">u4").reshape(rows, columns, 2)
    values: Matrix = np.ascontiguousarray(pairs[:, :, 1]).view(">f4").astype(np.float32)
    return values
