"""What processes leave outside their directory when there is no namespace to take it along. Standard library only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

IPC_RMID = 0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
SHARED = ".shared-ipc"  # in the stack directory: this boot's id, if the stack has no IPC namespace of its own
NOTES = ".outside"  # in the stack directory: paths elsewhere that go with it, one a line


def mark_shared(directory: Path) -> None:
    """Remember that the segments of this stack are the machine's, and of which boot."""
    (directory / SHARED).write_text(_BOOT.read_text())


def remove_segments(directory: Path) -> int:
    """Remove the SysV shared memory segments that PostgreSQL named in a postmaster.pid below `directory`.

    Returns how many there were. In a namespace of its own, or before a boot, an id may be someone else's: left alone.
    """
    try:
        if (directory / SHARED).read_text() != _BOOT.read_text():
            return 0
    except OSError:
        return 0
    removed = 0
    for file in directory.glob("*/data/postmaster.pid"):
        try:
            lines = file.read_text().splitlines()
            segment = int(lines[6].split()[1])  # line 7: key and id
        except (OSError, IndexError, ValueError):
            continue
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        removed += libc.shmctl(segment, IPC_RMID, None) == 0
    return removed


def remove_outside(directory: Path) -> None:
    """Remove the paths that were remembered, and their directory if that leaves it empty."""
    try:
        paths = (directory / NOTES).read_text().splitlines()
    except OSError:
        return
    for path in map(Path, paths):
        path.unlink(missing_ok=True)
        try:
            path.parent.rmdir()
        except OSError:
            continue  # others use it


def remove_directory(directory: Path) -> None:
    """Remove a stack directory whose processes are dead; tries again when something was still being written."""
    for _ in range(20):
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.lexists(directory):
            return
