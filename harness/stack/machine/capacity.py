"""Is there enough of it? Processors, memory, disk, shared memory, open files."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.model.stackfile import StackFile
from harness.stack.machine.cgroups import cpu_quota, memory_left
from harness.stack.machine.check import MIB, Check, size

# MiB that each kind of service takes under the load of a validation (shared pages by their share), rounded up.
MEMORY_MIB: Mapping[str, int] = {
    "postgres": 100,
    "redis": 20,
    "milvus": 400,
    "prometheus": 100,
    "alertmanager": 40,
    "loki": 200,
    "postgres-exporter": 20,
    "redis-exporter": 20,
    "otlp-sink": 25,
    "webhook-sink": 25,
}
COMMAND_MIB = 80  # a process of the reference service
OWN_MIB = 200  # supervisor, proxy, the harness itself and one load worker
DISK_LOW, DISK_OUT = 2048 * MIB, 512 * MIB  # a stack writes 400 MiB in its first minutes, an artefact is 100
SHM_LOW = 64 * MIB
FILES_OF_A_PROCESS = 512  # what a server or a worker opens beside the connections of users
FILES_OF_A_USER = 2  # its own connection, and the one that it may keep busy behind the server


@dataclass(frozen=True, slots=True)
class Cores:
    """online: of the machine; allowed: that this process may run on; quota: processors' time it may use, or None."""

    online: int
    allowed: int
    quota: float | None

    @property
    def usable(self) -> float:
        return min(self.allowed, self.quota or self.allowed)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: total and available of the machine; left: that the control group still may take, or None."""

    total: int
    available: int
    left: int | None

    @property
    def usable(self) -> int:
        return min(self.available, self.left if self.left is not None else self.available)


@dataclass(frozen=True, slots=True)
class Disk:
    """what: is kept there; path: the directory, which may not be there yet; free: bytes; writable: by this user, it or
    the place where it would be made."""

    what: str
    path: str
    free: int
    writable: bool


@dataclass(frozen=True, slots=True)
class Shm:
    """free: bytes of /dev/shm, None where there is none."""

    free: int | None


@dataclass(frozen=True, slots=True)
class Files:
    """How many files a process may open, and how many it may allow itself."""

    soft: int
    hard: int


def read_cores() -> Cores:
    return Cores(os.cpu_count() or 1, len(os.sched_getaffinity(0)), cpu_quota())


def read_memory(path: Path = Path("/proc/meminfo")) -> Memory:
    fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
    total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return Memory(total, available, memory_left())


def read_disk(what: str, directory: Path) -> Disk:
    """Of a directory that is not there: of the nearest one above it that is."""
    places = (directory, *directory.absolute().parents)
    there = next(path for path in places if os.path.isdir(path))  # noqa: PTH112 - false where we may not look
    told = os.statvfs(there)
    return Disk(what, str(directory), told.f_bavail * told.f_frsize, os.access(there, os.W_OK | os.X_OK))


def read_shm(path: Path = Path("/dev/shm")) -> Shm:
    try:
        told = os.statvfs(path)
    except OSError:
        return Shm(None)
    return Shm(told.f_bavail * told.f_frsize)


def read_files() -> Files:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = (1 << 63) - 1
    return Files(*(most if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard)))


def memory_needed(file: StackFile, unavailable: Mapping[str, object]) -> int:
    """Bytes that the stack takes under load with the services that can be had here, about; disks in memory as if full,
    which a fault may make them."""
    services = [one for name, one in file.spec.services.items() if name not in unavailable]
    kinds = [MEMORY_MIB[one.use] if one.use is not None else COMMAND_MIB for one in services if one.job is None]
    return (sum(kinds) + OWN_MIB) * MIB + sum(one.disk or 0 for one in services)


def check_cores(cores: Cores) -> Check:
    """Whether load and system have a core each."""
    found = f"{cores.usable:g} usable of {cores.online}"
    if cores.quota is not None:
        found += f" (a quota of {cores.quota:g})"
    elif cores.allowed < cores.online:
        found += f" (bound to {cores.allowed})"
    numbers = {"usable": cores.usable, "online": cores.online, "allowed": cores.allowed, "quota": cores.quota}
    if cores.usable < 2:
        remedy = "Give it two: load and system share what there is, and the generator is late when the system works."
        return Check("cores", "warning", found, remedy, numbers)
    return Check("cores", "ok", found, numbers=numbers)


def check_memory(memory: Memory, needed: int | None) -> Check:
    """Whether the stack fits. needed: bytes, None without a stack."""
    found = f"{size(memory.usable)} available of {size(memory.total)}"
    if memory.usable < memory.available:
        found += " (limited by its control group)"
    numbers = {"available": memory.usable, "total": memory.total, "needed": needed}
    if needed is None:
        return Check("memory", "ok", found, numbers=numbers)
    found += f"; the stack takes about {size(needed)}"
    if memory.usable < needed // 2:
        remedy = "Free some: the kernel would kill services before they are ready."
        return Check("memory", "problem", found, remedy, numbers)
    if memory.usable < needed:
        return Check("memory", "warning", found, "Free some: services may be killed, or swapped out.", numbers)
    return Check("memory", "ok", found, numbers=numbers)


def check_disk(disks: tuple[Disk, ...]) -> Check:
    """Whether what a stack writes finds room."""
    found = "; ".join(f"{size(one.free)} free for {one.what} ({one.path})" for one in disks)
    numbers = {one.what: {"path": one.path, "free": one.free, "writable": one.writable} for one in disks}
    if locked := [one.path for one in disks if not one.writable]:
        remedy = "Let XDG_CACHE_HOME and XDG_STATE_HOME name directories that this user may write."
        return Check("disk", "problem", f"this user may not write {' nor '.join(locked)}; {found}", remedy, numbers)
    least = min(one.free for one in disks)
    if least < DISK_LOW:
        remedy = f"Free some, or let XDG_CACHE_HOME and XDG_STATE_HOME name a larger disk: {size(DISK_LOW)} are wanted."
        return Check("disk", "problem" if least < DISK_OUT else "warning", found, remedy, numbers)
    return Check("disk", "ok", found, numbers=numbers)


def check_shm(shm: Shm, isolation: str) -> Check:
    """Whether POSIX shared memory has room. isolation: in a mount namespace the stack has a /dev/shm of its own."""
    numbers = {"free": shm.free, "own": isolation in ("pidns", "userns")}
    if shm.free is None:
        return Check("shm", "warning", "there is no /dev/shm", "Mount a tmpfs there: servers may want it.", numbers)
    found = f"{size(shm.free)} free in /dev/shm"
    if numbers["own"]:
        return Check("shm", "ok", f"{found}; the stack mounts one of its own", numbers=numbers)
    if shm.free < SHM_LOW:
        remedy = "Remove what others left there, or make it larger (docker run --shm-size)."
        return Check("shm", "warning", found, remedy, numbers)
    return Check("shm", "ok", found, numbers=numbers)


def check_files(files: Files, users: int | None) -> Check:
    """Whether users and servers may open their connections. users: of the largest validation, None without one."""
    needed = FILES_OF_A_PROCESS + FILES_OF_A_USER * (users or 0)
    found = f"a process may open {files.soft} files (at most {files.hard})"
    if users is not None:
        found += f"; {users} users want about {needed}"
    numbers = {"soft": files.soft, "hard": files.hard, "needed": needed, "users": users}
    if files.soft >= needed:
        return Check("files", "ok", found, numbers=numbers)
    if files.hard >= needed:
        return Check("files", "warning", found, f"ulimit -n {needed} in the shell that starts it.", numbers)
    remedy = f"Raise the hard limit to {needed} (limits.conf, LimitNOFILE, docker run --ulimit), or take fewer users."
    return Check("files", "warning", found, remedy, numbers)
