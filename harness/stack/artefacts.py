"""Artefacts: built once from inputs, kept in the cache under a hash of all that they are made of."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import IO

from harness.core.paths import cache_dir
from harness.model.source import Document
from harness.model.stackfile import StackFile

KEEP_SECONDS = 14 * 86400  # artefacts that no stack has used for so long go when a new one is built


def artefacts_dir() -> Path:
    path = cache_dir() / "artefacts"
    path.mkdir(parents=True, exist_ok=True)
    return path


def artefact_paths(file: StackFile, document: Document, root: Path) -> dict[str, Path]:
    """Where each artefact is, or will be once built. Raises UsageError file-missing for an input that is not there."""
    packages = _packages() if file.spec.artefacts else []
    paths = {}
    for name, artefact in file.spec.artefacts.items():
        digest = hashlib.sha256(repr((artefact.command, sys.version_info[:3], packages)).encode())
        for at, pattern in enumerate(artefact.inputs):
            found = [path for path in sorted(root.glob(pattern)) if path.is_file()]
            if not found:
                where = ("spec", "artefacts", name, "inputs", at)
                raise document.error(where, "file-missing", f"no file {pattern!r} in {root}", "Correct the path.")
            for path in found:
                digest.update(f"{path.relative_to(root)}:{path.stat().st_size}:".encode() + path.read_bytes())
        paths[name] = artefacts_dir() / f"{name}-{digest.hexdigest()[:16]}"
    return paths


def _packages() -> list[str]:
    """The installed packages with their versions, as the names of their dist-info directories tell."""
    return sorted({found.name for entry in sys.path if entry for found in Path(entry).glob("*.dist-info")})


class Build:
    """The right to build one artefact: at most one process of this user has it."""

    def __init__(self, name: str, target: Path, scratch: Path) -> None:
        self.target = target
        self.directory = scratch / name
        self._name = name
        self._lock: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Take the lock, without waiting, and make an empty directory to build in."""
        lock = self.target.with_name(f".{self._name}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        self.directory.mkdir(parents=True)
        return True

    def finish(self) -> None:
        """Put what was built in its place, and let old ones go."""
        self.directory.rename(self.target)
        for old in self.target.parent.glob(f"{self._name}-*"):
            if time.time() - old.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(old, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def touch(path: Path) -> None:
    """Note that an artefact is in use."""
    os.utime(path)
