"""The directory of the tools while an installer works on it: one at a time, and each tool whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.stack.install_errors import install_failed
from harness.stack.tools import tools_dir

_UNFINISHED = ".unpacking-"


@contextmanager
def into(final: Path) -> Iterator[Path]:
    """A directory that becomes `final` at the end of the block, at once; after an exception nothing is left of it."""
    final.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=tools_dir()))
    root = work / final.name
    try:
        root.mkdir(mode=0o755)
        yield root
        if final.exists():  # incomplete, or it would have been found
            shutil.rmtree(final)
        root.rename(final)
    finally:
        shutil.rmtree(work)


@contextmanager
def alone(progress: Callable[[str], None]) -> Iterator[None]:
    """One installer at a time for one cache; what a killed one has left half done is removed."""
    if os.pathsep in str(tools_dir()):
        raise install_failed(f"{tools_dir()} has a {os.pathsep} in it, which no library path can hold")
    tools_dir().mkdir(parents=True, exist_ok=True)
    lock = os.open(tools_dir() / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another installer is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in tools_dir().glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        yield
    finally:
        os.close(lock)
