"""The labels that all of ours carry on an engine, and whose they are. Standard library only.

An owner is told as `PID:START:PLACE`: a process, its start time in clock ticks, and the boot and PID namespace that
these two numbers mean something in. Who is not in that place can say nothing of it, and must take it for alive.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.stack import procfs

STACK = "slo-harness.stack"
OWNER = "slo-harness.owner"
SERVICE = "slo-harness.service"
NOWHERE = "unknown"


def place() -> str:
    """This boot and this PID namespace: `BOOT_ID/NAMESPACE`; the namespace is NOWHERE where /proc shows another one's
    processes, so that nothing can be told from here."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if str(Path("/proc/self").readlink()) != str(os.getpid()):
        return f"{boot}/{NOWHERE}"
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"


def owner(pid: int | None = None) -> str:
    """How a living process, by default this one, is told. Raises ProcessLookupError when it is gone."""
    pid = os.getpid() if pid is None else pid
    known = procfs.stat(pid)
    if known is None:
        raise ProcessLookupError(f"no process {pid}")
    return f"{pid}:{known[2]}:{place()}"


def labels(stack_id: str, owner_pid: int | None = None) -> dict[str, str]:
    """For everything that is made for a stack: which, and which process it hangs on."""
    return {STACK: stack_id, OWNER: owner(owner_pid)}


def is_dead(told: str) -> bool:
    """Whether an owner is certainly gone. Not for one of another boot, machine or PID namespace, and not for what
    cannot be read: nobody here knows."""
    pid, _, rest = told.partition(":")
    start, _, where = rest.partition(":")
    if not (pid.isdigit() and start.isdigit()) or where != place() or where.endswith(f"/{NOWHERE}"):
        return False
    known = procfs.stat(int(pid))
    return known is None or known[2] != int(start) or known[0] in ("Z", "X")
