"""Which stacks live, and removing what dead ones left (after SIGKILL of guardian and supervisor both, or a reboot)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from harness.core.paths import cache_dir, state_dir
from harness.stack import leftovers, procfs


def stacks_dir() -> Path:
    """Where the directories of stacks live."""
    return (state_dir() / "stacks").resolve()


def scratch_dir(stack_id: str) -> Path:
    """Where a stack builds what it will put into the cache: on the same file system, and gone with the stack."""
    return (cache_dir() / "building" / stack_id).resolve()


def is_live(directory: Path) -> bool:
    """Whether someone holds the lock on a stack directory: its guardian or its supervisor."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def live_stacks() -> list[Path]:
    """The directories of the stacks that are running, leased ones too."""
    stacks = stacks_dir()
    return [path for path in sorted(stacks.iterdir()) if path.is_dir() and is_live(path)] if stacks.is_dir() else []


def sweep() -> list[str]:
    """Kill and remove what dead stacks left; returns their ids."""
    stacks = stacks_dir()
    stacks.mkdir(parents=True, exist_ok=True, mode=0o700)
    swept = []
    with (stacks / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # no stack is being made meanwhile
        for path in stacks.iterdir():
            if path.is_dir() and not is_live(path):
                for pid in procfs.belonging(path.name, path):
                    procfs.kill(pid)
                leftovers.remove_segments(path)
                leftovers.remove_outside(path)
                leftovers.remove_directory(path)
                leftovers.remove_directory(scratch_dir(path.name))
                swept.append(path.name)
    return swept
