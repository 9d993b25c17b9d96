"""What /proc says of processes. Standard library only: the supervisor imports it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
MARK = "SLO_HARNESS_STACK"  # in the environment of all that a stack starts


def pids() -> Iterator[int]:
    """All process ids that are visible here."""
    for path in PROC.iterdir():
        if path.name.isdigit():
            yield int(path.name)


def stat(pid: int) -> tuple[str, int, int] | None:
    """State letter, parent and start time (clock ticks since boot) of a process; None when it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[1]), int(fields[19])


def kill(pid: int) -> None:
    """SIGKILL; nothing when the process is gone or another user's."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def children(parent: int) -> list[int]:
    """The direct children of a process, zombies too."""
    return [pid for pid in pids() if (known := stat(pid)) is not None and known[1] == parent]


def trees(roots: dict[str, int]) -> dict[str, list[int]]:
    """For each name the process and all its descendants."""
    below: dict[int, list[int]] = {}
    for pid in pids():
        if (known := stat(pid)) is not None:
            below.setdefault(known[1], []).append(pid)

    def walk(pid: int) -> Iterator[int]:
        yield pid
        for child in below.get(pid, ()):
            yield from walk(child)

    return {name: list(walk(pid)) for name, pid in roots.items()}


def tree(pid: int) -> list[int]:
    """A process and all its descendants. Reads no more of /proc than these where the kernel lists children."""
    found = [pid]
    for one in found:  # which grows meanwhile
        try:
            for task in (PROC / str(one) / "task").iterdir():
                found += map(int, (task / "children").read_bytes().split())
        except OSError:
            if stat(one) is not None and not (PROC / "self/task" / str(os.getpid()) / "children").exists():
                return trees({"": pid})[""]  # a kernel without CONFIG_PROC_CHILDREN
    return found


def memory_bytes(pid: int) -> int:
    """Resident memory in bytes, shared pages by their share where the kernel tells (PSS); 0 when it is gone."""
    for name, key in (("smaps_rollup", b"Pss:"), ("status", b"VmRSS:")):
        try:
            for line in (PROC / str(pid) / name).read_bytes().splitlines():
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
        except OSError:
            continue
    return 0


def outside_pids(inside: set[int], namespace_of: int) -> dict[int, int]:
    """Ids as seen in the PID namespace of process `namespace_of` -> ids as seen here."""
    try:
        wanted = (PROC / str(namespace_of) / "ns/pid").readlink()
    except OSError:
        return {}
    found: dict[int, int] = {}
    for pid in pids():
        try:
            if (PROC / str(pid) / "ns/pid").readlink() != wanted:
                continue
            status = (PROC / str(pid) / "status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("NSpid:") and (own := int(line.split()[-1])) in inside:
                found[own] = pid
    return found


def belonging(stack_id: str, directory: Path) -> list[int]:
    """Processes that a stack left: marked in their environment, or working below its directory; not this one."""
    mark, below = f"{MARK}={stack_id}".encode(), f"{directory}/"
    found = []
    for pid in pids():
        here = PROC / str(pid)
        if pid == os.getpid():
            continue
        try:
            cwd = str((here / "cwd").readlink()).removesuffix(" (deleted)")
            if f"{cwd}/".startswith(below) or mark in (here / "environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue
    return found


def listeners() -> dict[int, set[int]]:
    """Every TCP port with a listener on this machine -> the socket inodes that listen there."""
    found: dict[int, set[int]] = {}
    for name in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == "0A":
                found.setdefault(int(fields[1].rpartition(":")[2], 16), set()).add(int(fields[9]))
    return found


def owner(inodes: set[int]) -> tuple[int, str] | None:
    """The first visible process that holds one of these sockets: id and name."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in pids():
        here = PROC / str(pid)
        try:
            if any(str(fd.readlink()) in wanted for fd in (here / "fd").iterdir()):
                return pid, (here / "comm").read_text().strip()
        except OSError:
            continue
    return None
