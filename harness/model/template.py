"""The ${...} placeholders of stack.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


def placeholders(text: str) -> Iterator[tuple[str, str]]:
    """The ${kind:name} parts of `text` as (kind, name); the name of ${dir} and ${scale} is empty."""
    for found in _PLACEHOLDER.finditer(text):
        kind, _, name = found[1].partition(":")
        yield kind, name


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each ${key} replaced by `values[key]`. Raises KeyError for one that is not there."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)
