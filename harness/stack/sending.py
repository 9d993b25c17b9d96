"""Signals to a process and all below it. Standard library only: the supervisor imports it."""

from __future__ import annotations

import os
import signal

from harness.stack import procfs


def send(pid: int, signum: int, tree: bool) -> set[int]:
    """A signal to a process, and with `tree` to all below it: again until nobody new is found, as they may fork.
    Returns who got it.

    Raises ProcessLookupError when it is gone."""
    os.kill(pid, signum)
    seen = {pid}
    while tree and (new := [one for one in procfs.tree(pid) if one not in seen]):
        for one in new:
            seen.add(one)
            try:
                os.kill(one, signum)
            except ProcessLookupError:
                continue
    return seen


def kill_tree(pid: int) -> list[tuple[int, int]]:
    """SIGKILL to a process and all below it, those too that lead sessions of their own; nothing when it is gone. They
    are stopped first, so that none is born meanwhile. Returns process and start time of each: to be gone takes a
    moment."""
    try:
        tree = send(pid, signal.SIGSTOP, tree=True)
    except (ProcessLookupError, PermissionError):
        return []
    known = [(one, told[2]) for one in tree if (told := procfs.stat(one)) is not None]
    for one in tree:
        procfs.kill(one)
    return known


def left(tree: list[tuple[int, int]]) -> list[int]:
    """Which processes of `kill_tree` are not gone yet."""
    now = [(pid, procfs.stat(pid), started) for pid, started in tree]
    return [pid for pid, told, started in now if told is not None and told[2] == started and told[0] not in "ZX"]


def stopped(pid: int) -> bool:
    """Whether a process and all below it are stopped."""
    states = [procfs.stat(one) for one in procfs.tree(pid)]
    return all(one is None or one[0] in "TtZ" for one in states)
