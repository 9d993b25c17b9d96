"""Signals to a process and all below it. Standard library only: the supervisor imports it."""

from __future__ import annotations

import os

from harness.stack import procfs


def send(pid: int, signum: int, tree: bool) -> None:
    """A signal to a process, and with `tree` to all below it: again until nobody new is found, as they may fork.

    Raises ProcessLookupError when it is gone."""
    os.kill(pid, signum)
    seen = {pid}
    while tree and (new := [one for one in procfs.trees({"": pid})[""] if one not in seen]):
        for one in new:
            seen.add(one)
            try:
                os.kill(one, signum)
            except ProcessLookupError:
                continue


def stopped(pid: int) -> bool:
    """Whether a process and all below it are stopped."""
    states = [procfs.stat(one) for one in procfs.trees({"": pid})[""]]
    return all(one is None or one[0] in "TtZ" for one in states)
