"""What a container or a service manager leaves of the machine: limits of the control groups that this process is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")
_NONE = 1 << 60  # a memory limit above this is version 1's way of saying that there is none


def cpu_quota(root: Path = ROOT, groups: Path = GROUPS) -> float | None:
    """How many processors' time may be used; None without a limit."""
    found = []
    for directory in _directories("cpu", root, groups):
        try:
            if (file := directory / "cpu.max").exists():
                quota, period = file.read_text().split()
            else:
                quota = (directory / "cpu.cfs_quota_us").read_text().strip()
                period = (directory / "cpu.cfs_period_us").read_text()
            if quota not in ("max", "-1"):
                found.append(int(quota) / int(period))
        except (OSError, ValueError):
            continue
    return min(found, default=None)


def memory_left(root: Path = ROOT, groups: Path = GROUPS) -> int | None:
    """How many bytes may still be taken, what the page cache would give back counted in; None without a limit."""
    found = []
    for directory in _directories("memory", root, groups):
        limit = _number(directory, "memory.max", "memory.limit_in_bytes")
        used = _number(directory, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < _NONE:
            found.append(max(0, limit - used + _inactive(directory)))
    return min(found, default=None)


def _directories(controller: str, root: Path, groups: Path) -> Iterator[Path]:
    """The directories of the group that has `controller`, and of all groups above it."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        # Version 2 alone is mounted at the root; beside version 1 it has no controllers, and no limits either.
        bases = [root] if not names else [root / names, root / controller]
        base = next((base for base in bases if base.is_dir()), None)
        if base is None:
            continue
        # In a container the path may be the host's, which is not mounted here: then the mount is our own group.
        inner = base / path.lstrip("/")
        yield from (one for one in (inner, *inner.parents) if one.is_relative_to(base) and one.is_dir())


def _number(directory: Path, *names: str) -> int | None:
    for name in names:
        try:
            return int((directory / name).read_text())
        except (OSError, ValueError):
            continue
    return None


def _inactive(directory: Path) -> int:
    try:
        fields = dict(line.split() for line in (directory / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
