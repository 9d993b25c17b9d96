"""The number of files that a process and all below it may open. Standard library only: the supervisor imports it."""

from __future__ import annotations

import resource
from pathlib import Path

from harness.stack import procfs

NOFILE = resource.RLIMIT_NOFILE


def read(pid: int) -> list[tuple[int, int, int, int]]:
    """(process, its start time in clock ticks, soft limit, hard limit) of each process of the tree."""
    found = []
    for one in procfs.tree(pid):
        known = procfs.stat(one)
        if known is None or known[0] in "ZX":
            continue
        try:
            soft, hard = resource.prlimit(one, NOFILE)
        except ProcessLookupError:
            continue  # it ended meanwhile
        found.append((one, known[2], soft, hard))
    return found


def lower(pid: int, spare: int) -> dict[int, int]:
    """Set the soft limit of each process of the tree so that it can open `spare` more files, and no other; what is open
    stays so. Returns process -> its limit. Raises PermissionError."""
    found = {}
    for one, _, soft, hard in read(pid):
        try:
            found[one] = min(soft, _limit(_open(one), spare))
            resource.prlimit(one, NOFILE, (found[one], hard))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return found


def _open(pid: int) -> set[int]:
    return {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}


def _limit(taken: set[int], spare: int) -> int:
    """The limit with `spare` free numbers below it: a new file gets the lowest free number, which must be less."""
    at = 0
    while at in taken or spare > 0:
        spare -= at not in taken
        at += 1
    return at


def restore(told: list[tuple[int, int, int, int]], pid: int | None = None) -> None:
    """Set what `read` told, for the processes that are still the same. pid: the root of the tree, where it runs; what
    was born below it meanwhile has the low limit too, and gets that of the first that was told."""
    for one, started, soft, hard in told:
        _set(one, started, soft, hard)
    known = {(one, started) for one, started, _, _ in told}
    while pid is not None and told:
        low = [one for one in read(pid) if (one[0], one[1]) not in known and one[2] < told[0][2]]
        if not low:
            return
        for one, started, _, hard in low:
            _set(one, started, min(told[0][2], hard), hard)


def _set(pid: int, started: int, soft: int, hard: int) -> None:
    if (known := procfs.stat(pid)) is not None and known[2] == started and known[0] not in "ZX":
        try:
            resource.prlimit(pid, NOFILE, (soft, hard))
        except ProcessLookupError:
            return  # it ended meanwhile
