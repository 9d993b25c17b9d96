"""What a stack uses on this machine, seen from outside, and what of it is still there later."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.stack import procfs

STRAYS = (Path("/tmp/milvus"), Path("/run/milvus"))  # Milvus' own idea of where to write


@dataclass
class Seen:
    """Everything that was observed of a stack while it lived. processes: (id, start time) -> command."""

    state: Path  # the state directory, which nothing else uses
    cache: Path
    processes: dict[tuple[int, int], str] = field(default_factory=dict)
    inside: set[int] = field(default_factory=set)  # the same processes' ids in their own namespaces
    inodes: dict[int, int] = field(default_factory=dict)  # of listening sockets -> port
    stacks: set[str] = field(default_factory=set)
    strays: set[Path] = field(default_factory=set)  # that were there before
    shared: set[str] = field(default_factory=set)  # files in /dev/shm that were there before

    def look(self, root: int) -> None:
        """Add what is there now below process `root`, which itself is not part of the stack."""
        for pid in procfs.trees({"": root})[""]:
            if pid != root and (known := procfs.stat(pid)) is not None and known[0] != "Z":
                self.processes[pid, known[2]] = _comm(pid)
                self.inside |= {pid, _inside(pid)}
        self.stacks |= set(directories(self.state))
        held = {inode for pid, _ in self.processes for inode in _sockets(pid)}
        for port, inodes in procfs.listeners().items():
            self.inodes |= dict.fromkeys(inodes & held, port)

    def remains(self) -> list[str]:
        """What is left of it now, in words; nothing when it is clean."""
        left = [f"process {pid} {name}" for (pid, start), name in self.processes.items() if _alive(pid, start)]
        left += [f"process {pid} {_comm(pid)} (unseen before)" for pid in self._unseen()]
        listening = {inode for inodes in procfs.listeners().values() for inode in inodes}
        left += [f"port {port}" for inode, port in self.inodes.items() if inode in listening]
        left += [f"directory stacks/{name}" for name in directories(self.state)]
        left += [f"directory building/{name}" for name in self.stacks if (self.cache / "building" / name).exists()]
        left += [f"control socket of {name}" for name in self.stacks if f"@slo-harness-{name}\n" in _unix_sockets()]
        seen = {pid for pid, _ in self.processes}
        left += [f"shared memory segment {segment}" for segment, creator in segments() if creator in seen]
        left += [f"shared memory file {name}" for name in sorted(shared_files() - self.shared)]
        return left + [f"stray file {path}" for path in sorted(stray_files() - self.strays) if self._ours(path)]

    def _unseen(self) -> list[int]:
        """Processes of this state directory that came into being after the last look."""
        known = {pid for pid, _ in self.processes}
        found = [pid for name in self.stacks for pid in procfs.belonging(name, self.state / "stacks" / name)]
        return [pid for pid in found if pid not in known and (one := procfs.stat(pid)) is not None and one[0] != "Z"]

    def _ours(self, path: Path) -> bool:
        number = re.fullmatch(r"server_id_(\d+)", path.name)
        return int(number[1]) in self.inside if number else any(name in path.name for name in self.stacks)


def observe(state: Path, cache: Path) -> Seen:
    """Begin to observe stacks under a state directory of their own, before any is started."""
    return Seen(state, cache, strays=stray_files(), shared=shared_files())


def wait_clean(seen: Seen, seconds: float = 5.0) -> tuple[float, list[str]]:
    """Seconds until nothing was left, and what was left after `seconds`."""
    began = time.monotonic()
    while (left := seen.remains()) and time.monotonic() - began < seconds:
        time.sleep(0.02)
    return time.monotonic() - began, left


def poll(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `condition` holds. Raises TimeoutError naming `what`."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.005)


def directories(state: Path) -> list[str]:
    """The stack directories below a state directory (slo-harness's own, not its parent)."""
    stacks = state / "stacks"
    return sorted(path.name for path in stacks.iterdir() if path.is_dir()) if stacks.exists() else []


def segments() -> list[tuple[int, int]]:
    """SysV shared memory of this IPC namespace: id and creator's process id."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [(int(fields[1]), int(fields[4])) for fields in map(str.split, lines)]


def shared_files() -> set[str]:
    """POSIX shared memory that servers of a stack would make here."""
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith("PostgreSQL.")}


def stray_files() -> set[Path]:
    return {path for directory in STRAYS if directory.is_dir() for path in directory.iterdir()}


def _alive(pid: int, start: int) -> bool:
    known = procfs.stat(pid)
    return known is not None and known[2] == start and known[0] != "Z"


def _sockets(pid: int) -> set[int]:
    """The inodes of the sockets that a process holds open."""
    found = set()
    try:
        for fd in (procfs.PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if (target := str(fd.readlink())).startswith("socket:["):
                    found.add(int(target[8:-1]))
    except OSError:
        return found
    return found


def _comm(pid: int) -> str:
    try:
        return (procfs.PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return "?"


def _inside(pid: int) -> int:
    try:
        status = (procfs.PROC / str(pid) / "status").read_text()
    except OSError:
        return pid
    return int(status.partition("NSpid:")[2].splitlines()[0].split()[-1])


def _unix_sockets() -> str:
    return Path("/proc/net/unix").read_text()
