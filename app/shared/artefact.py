"""The two hashes by which an artefact on disk is known to be whole: one a file, and one over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_hash(files: Mapping[str, str]) -> str:
    """One hash over all files: of the lines `name sha256`, sorted by name."""
    return hashlib.sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode()).hexdigest()
