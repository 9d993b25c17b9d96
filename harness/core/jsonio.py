"""JSON as we write it: canonical (sorted keys, stable numbers) and, where a reader may look on, atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson


def canonical(value: Any) -> bytes:
    """`value` as indented JSON with sorted keys and a final newline: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(canonical(value))
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """The parsed content of `path`. Raises OSError, or orjson.JSONDecodeError (a ValueError)."""
    return orjson.loads(path.read_bytes())
