"""The supervisor's children: start, signal, stop, reap. Standard library only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.stack.sending import kill_tree, left


@dataclass
class Child:
    """One supervised process. `code` is the exit code, or minus the signal; `asked`: its end was ordered by `stop`."""

    name: str
    spec: dict[str, Any]
    pid: int
    started_ns: int  # wall clock
    restarts: int = 0
    state: str = "running"  # running | exited
    code: int | None = None
    asked: bool = False
    kill_at: float | None = None  # monotonic seconds: when `stop` loses its patience
    killed: list[tuple[int, int]] = field(default_factory=list)  # process and start time of what was killed with it

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, and all that was killed with it."""
        return self.state != "running" and not left(self.killed)

    def report(self) -> dict[str, Any]:
        return {
            "pid": self.pid,
            "state": self.state,
            "code": self.code,
            "started_ns": self.started_ns,
            "restarts": self.restarts,
            "asked": self.asked,
        }


@dataclass
class Children:
    """The table of supervised processes. prefix: put before each command (parent-death signal without namespaces)."""

    prefix: tuple[str, ...] = ()
    table: dict[str, Child] = field(default_factory=dict)
    exits: list[dict[str, Any]] = field(default_factory=list)

    def start(self, name: str, spec: dict[str, Any]) -> Child:
        """Start `spec` (argv, env, cwd, log) in a session of its own, output appended to the log.

        Raises ValueError when `name` runs already, OSError when it cannot be started.
        """
        before = self.table.get(name)
        if before is not None and before.state == "running":
            raise ValueError(f"{name} is running")
        with Path(spec["log"]).open("ab") as log:
            process = subprocess.Popen(
                [*self.prefix, *spec["argv"]],
                env=spec["env"],
                cwd=spec["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.returncode = 0  # reaped here, not by subprocess
        restarts = 0 if before is None else before.restarts + 1
        child = self.table[name] = Child(name, spec, process.pid, time.time_ns(), restarts)
        return child

    def running(self, name: str) -> Child:
        """The child called `name`. Raises ValueError unless it runs."""
        child = self.table.get(name)
        if child is None or child.state != "running":
            raise ValueError(f"{name} is not running")
        return child

    def stop(self, name: str, signum: int, grace: float) -> None:
        """Ask a process to end; after `grace` seconds it is killed, with all below it. SIGKILL is no request: it goes
        to all at once. Raises ValueError unless it runs."""
        child = self.running(name)
        child.asked = True
        if signum == signal.SIGKILL:
            child.killed = kill_tree(child.pid)
            return
        child.kill_at = time.monotonic() + grace
        os.kill(child.pid, signum)
        os.kill(child.pid, signal.SIGCONT)

    def kill_late(self) -> float | None:
        """Kill what outstayed its grace; returns seconds until the next one is due."""
        now, due = time.monotonic(), None
        for child in self.table.values():
            if child.state == "running" and child.kill_at is not None:
                if child.kill_at <= now:
                    child.killed = kill_tree(child.pid)
                    child.kill_at = None
                else:
                    due = min(due or child.kill_at, child.kill_at)
        return None if due is None else due - now

    def reap(self) -> list[dict[str, Any]]:
        """Collect whatever ended, orphans too; returns the exits of supervised processes."""
        by_pid = {child.pid: child for child in self.table.values() if child.state == "running"}
        ended = []
        while True:
            try:
                # Looked at before it is reaped, so that its id still belongs to its group.
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if seen is None:
                    break
                child = by_pid.get(seen.si_pid)
                if child is not None:
                    kill_group(seen.si_pid)
                _, status = os.waitpid(seen.si_pid, 0)
            except ChildProcessError:
                break
            if child is not None:
                child.state, child.code = "exited", os.waitstatus_to_exitcode(status)
                told = {
                    "name": child.name,
                    "pid": child.pid,
                    "code": child.code,
                    "asked": child.asked,
                    "wall_ns": time.time_ns(),
                }
                self.exits.append(told)
                ended.append(told)
        return ended


def kill_group(pid: int) -> None:
    """SIGKILL to the process group that `pid` leads; nothing when it is gone."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
