"""The number of files that a process and all below it may open. Standard library only: the supervisor imports it."""

from __future__ import annotations

import resource

from harness.stack import procfs

NOFILE = resource.RLIMIT_NOFILE


def read(pid: int) -> list[tuple[int, int, int, int]]:
    """(process, its start time in clock ticks, soft limit, hard limit) of each process of the tree."""
    found = []
    for one in procfs.trees({"": pid})[""]:
        known = procfs.stat(one)
        if known is not None:
            soft, hard = resource.prlimit(one, NOFILE)
            found.append((one, known[2], soft, hard))
    return found


def lower(pid: int, soft: int) -> None:
    """Set the soft limit of each process of the tree. Raises ValueError above its hard limit, PermissionError."""
    for one, _, _, hard in read(pid):
        resource.prlimit(one, NOFILE, (soft, hard))


def restore(pids: list[tuple[int, int, int, int]]) -> None:
    """Set what `read` told, for the processes that are still the same."""
    for pid, started, soft, hard in pids:
        if (known := procfs.stat(pid)) is not None and known[2] == started:
            resource.prlimit(pid, NOFILE, (soft, hard))
