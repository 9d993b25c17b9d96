"""Titles and texts of the corpus from PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from app.config import COLLECTION
from app.shared.dependency import POSTGRES, DependencyError
from app.shared.postgres import Connections

SNIPPET = 300  # characters
_SELECT = f"SELECT id, title, left(text, {SNIPPET}) FROM {COLLECTION} WHERE id = ANY(%s)"


class Documents:
    """Make it inside the event loop that uses it."""

    def __init__(self, connections: Connections) -> None:
        """`connections` may be shared."""
        self._connections = connections

    async def get(self, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """id -> (title, beginning of the text), for each of `ids`. Raises DependencyError."""
        rows = await self._connections.query(_SELECT, (list(ids),))
        found = {int(id): (title, text) for id, title, text in rows}
        if missing := [id for id in ids if id not in found]:
            raise DependencyError(POSTGRES, "incomplete", f"documents {missing[:5]} are not in table {COLLECTION}")
        return found
