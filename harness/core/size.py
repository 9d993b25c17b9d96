"""Sizes as people write them: `64kB`, `256MB`, `1.5GiB`."""

from __future__ import annotations

import re

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(B|kB|MB|GB|KiB|MiB|GiB)")
LARGEST = 2**50


def parse_size(text: str) -> int:
    """`text` in bytes. Raises ValueError for anything that is not a number with a unit, or more than a PiB."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a size; write for example 64kB, 256MB or 1GiB")
    size = round(float(found[1]) * _UNITS[found[2]])
    if size > LARGEST:
        raise ValueError(f"{text!r} is more than a PiB")
    return size
