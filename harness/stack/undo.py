"""The undo list: what the supervisor does when a fault ends, or whoever set it. Standard library only.

An entry hangs on the connection that armed it: at its end, by whatever that is, and at the entry's own time, its steps
are done one after the other. A step that fails is told, and the next is done all the same.
"""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.stack import limits, procfs
from harness.stack.processes import Children
from harness.stack.sending import send

Step = Mapping[str, Any]
KEEP = 64  # entries that are remembered after their end
PATIENCE = 30.0  # seconds for a program to end, unless its step says otherwise
PAUSE = 0.01  # seconds until a step that could not be done yet is tried again
STARTS = 3  # times that one step starts a service at most


@dataclass
class Entry:
    """One fault's. state: armed | undoing | done | failed; by: asked | closed | time, why it was undone."""

    key: str
    label: str
    steps: list[Step]
    owner: object  # None once it is gone
    due: float | None  # monotonic seconds
    armed: float = field(default_factory=time.monotonic)  # monotonic seconds
    state: str = "armed"
    by: str = ""
    errors: list[str] = field(default_factory=list)
    running: str = ""  # the child that works on a step
    until: float = 0.0  # monotonic seconds, when that child is killed
    began: float = 0.0  # monotonic seconds, when the step that waits was first tried; 0 if none waits
    starts: int = 0  # of that step

    def report(self) -> dict[str, Any]:
        return {"key": self.key, "label": self.label, "state": self.state, "by": self.by, "errors": self.errors}


class UndoList:
    """All entries of a stack. `advance` is to be called whenever a child ended or time went by."""

    def __init__(self, children: Children, release: Callable[[str], None]) -> None:
        """release: ends a duty cycle."""
        self._children = children
        self._release = release
        self._entries: dict[str, Entry] = {}

    def arm(self, owner: object, key: str, label: str, steps: list[Step], seconds: float | None) -> None:
        """Raises ValueError for a key that is taken or a step that nobody can do."""
        if key in self._entries:
            raise ValueError(f"{key} is armed already")
        for step in steps:
            if step["do"] not in _STEPS:
                raise ValueError(f"unknown step {step['do']!r}")
        if seconds is not None and not 0 <= seconds < math.inf:
            raise ValueError(f"for {seconds} s")
        due = None if seconds is None else time.monotonic() + seconds
        self._entries[key] = Entry(key, label, list(steps), owner, due)

    def undo(self, key: str) -> None:
        """Begin to undo. Nothing happens to one that is being undone, or has been. Raises KeyError."""
        self._begin(self._entries[key], "asked")

    def report(self) -> list[dict[str, Any]]:
        return [entry.report() for entry in self._entries.values()]

    def closed(self, owner: object) -> None:
        """The connection `owner` is gone."""
        for entry in list(self._entries.values()):
            if entry.owner is owner:
                entry.owner = None
                self._begin(entry, "closed")
        self._forget()

    def advance(self) -> float | None:
        """Do what can be done now; returns seconds until there may be more to do."""
        now = time.monotonic()
        for entry in list(self._entries.values()):
            if entry.state == "armed" and entry.due is not None and entry.due <= now:
                self._begin(entry, "time")
            if entry.state == "undoing":
                self._work(entry)
        due = [one.due for one in self._entries.values() if one.state == "armed" and one.due is not None]
        due += [one.until for one in self._entries.values() if one.running]
        due += [now + PAUSE for one in self._entries.values() if one.began]
        return max(0.0, min(due) - now) if due else None

    def _begin(self, entry: Entry, by: str) -> None:
        if entry.state == "armed":
            entry.state, entry.by = "undoing", by
            self._work(entry)

    def _work(self, entry: Entry) -> None:
        """Go on with the steps until one takes time, or all are done."""
        while not entry.running or self._ended(entry):
            if not entry.steps:
                entry.state = "failed" if entry.errors else "done"
                self._forget()
                return
            step = entry.steps[0]
            try:
                if not _STEPS[step["do"]](self, entry, step):
                    entry.began = entry.began or time.monotonic()
                    return
            except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                entry.errors.append(f"{step['do']} {step.get('name', '')}: {type(error).__name__}: {error}")
            del entry.steps[0]
            entry.began, entry.starts = 0.0, 0

    def _ended(self, entry: Entry) -> bool:
        """Whether the program of a step has ended; one that takes too long is killed."""
        child = self._children.table[entry.running]
        if child.state == "running":
            if time.monotonic() > entry.until:
                procfs.kill(child.pid)
                entry.until = time.monotonic() + 1
            return False
        if child.code != 0:
            entry.errors.append(f"run {' '.join(child.spec['argv'][:4])} ended with {child.code}")
        del self._children.table[entry.running]
        entry.running = ""
        return True

    def _forget(self) -> None:
        """The oldest of those that went well, beyond the number that is kept, unless somebody may still ask for it. A
        failed one is told to the end."""
        done = [one.key for one in self._entries.values() if one.state == "done" and one.owner is None]
        for key in done[:-KEEP]:
            del self._entries[key]

    # the steps: each returns whether it is done; one that is not is tried again

    def _signal(self, _: Entry, step: Step) -> bool:
        """To one that has ended, or never began, there is nothing to say. One that is killed is waited for."""
        child = self._children.table.get(step["name"])
        if child is None or child.state != "running":
            return True
        send(child.pid, int(step["signal"]), bool(step.get("tree")))
        return bool(step["signal"] != signal.SIGKILL)

    def _kill(self, entry: Entry, step: Step) -> bool:
        """SIGKILL to a service, as an end that was asked for, if the entry has been armed for `after` seconds."""
        child = self._children.table[step["name"]]
        if child.state == "running" and time.monotonic() - entry.armed >= float(step["after"]):
            self._children.stop(child.name, signal.SIGKILL, 0)
        return True

    def _start(self, entry: Entry, step: Step) -> bool:
        """Start a service as it was started first, if it does not run, or has been asked to end; not before all that
        was killed with it is gone. `within`: for so many seconds again when it ends."""
        child = self._children.table[step["name"]]
        if child.state != "running" and child.is_gone and entry.starts < STARTS:
            entry.starts += 1
            child = self._children.start(child.name, child.spec)
        waited = time.monotonic() - entry.began if entry.began else 0.0
        over = waited >= float(step.get("within", 0)) or entry.starts == STARTS
        return over and child.state == "running" and not child.asked

    def _full_speed(self, _: Entry, step: Step) -> bool:
        self._release(step["name"])
        return True

    def _limits(self, _: Entry, step: Step) -> bool:
        """Those that `pids` tells, and what was born below the service meanwhile."""
        child = self._children.table.get(step.get("name", ""))
        limits.restore(step["pids"], child.pid if child is not None and child.state == "running" else None)
        return True

    def _write(self, _: Entry, step: Step) -> bool:
        path = Path(step["path"])
        new = path.with_name(f".{path.name}.undo")
        new.write_text(step["text"])
        if path.exists():
            shutil.copymode(path, new)  # in a container somebody else reads it
        new.replace(path)
        return True

    def _remove(self, _: Entry, step: Step) -> bool:
        Path(step["path"]).unlink(missing_ok=True)
        return True

    def _run(self, entry: Entry, step: Step) -> bool:
        name = f"undo-{entry.key}-{len(entry.steps)}"
        self._children.start(name, {key: step[key] for key in ("argv", "env", "cwd", "log")})
        entry.running, entry.until = name, time.monotonic() + float(step.get("patience", PATIENCE))
        return True


_STEPS: dict[str, Callable[[UndoList, Entry, Step], bool]] = {
    "signal": UndoList._signal,
    "kill": UndoList._kill,
    "start": UndoList._start,
    "full-speed": UndoList._full_speed,
    "limits": UndoList._limits,
    "write": UndoList._write,
    "remove": UndoList._remove,
    "run": UndoList._run,
}
