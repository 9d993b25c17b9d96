"""The stacks of this user that are up, under way or left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.jsonio import read_json
from harness.stack.machine.check import Check
from harness.stack.runtime import INFO, find_running
from harness.stack.sweep import is_live, stacks_dir

Kind = Literal["up", "leased", "starting", "left over"]


@dataclass(frozen=True, slots=True)
class FoundStack:
    """kind: up (`harness stack up` left it running) | leased (a run holds it) | starting | left over (its processes
    ended and its directory is still there); path: of its stack file, '' if not known; ports: all that it has; usable:
    runs of the stack file in question will use it."""

    id: str
    kind: Kind
    path: str = ""
    ports: frozenset[int] = frozenset()
    usable: bool = False


def read_stacks(stackfile: Path | None) -> list[FoundStack]:
    """All stacks of this user. stackfile: whose stack would be usable. Raises UsageError for that file."""
    try:
        directories = sorted(path for path in stacks_dir().iterdir() if path.is_dir())
    except OSError:
        return []  # none was ever up, or this user may not look: the disk check's to tell
    found = [_read(path) for path in directories]
    wanted = str(stackfile.resolve()) if stackfile is not None else ""
    if not any(one.kind == "up" and one.path == wanted for one in found):
        return found
    running = find_running(Path(wanted))
    if running is None:
        return found
    running.close()
    return [FoundStack(one.id, one.kind, one.path, one.ports, one.id == running.id) for one in found]


def _read(directory: Path) -> FoundStack:
    if not is_live(directory):
        return FoundStack(directory.name, "left over")
    try:
        told = read_json(directory / INFO)
        ports = {number for service in told["ports"].values() for number in service.values()}
        kind: Kind = "leased" if told["leased"] else "up"
        return FoundStack(directory.name, kind, told["path"], frozenset({*ports, *told["links"].values()}))
    except (OSError, ValueError, KeyError):
        return FoundStack(directory.name, "starting")


def check_stacks(stacks: Sequence[FoundStack]) -> Check:
    """Whether other stacks take processors and memory from the next run."""
    numbers = {"stacks": [{"id": one.id, "kind": one.kind, "path": one.path, "usable": one.usable} for one in stacks]}
    told, remedies = [], []
    for one in stacks:
        of = f" of {one.path}" if one.path else ""
        match one.kind:
            case "up" if one.usable:
                told.append(f"{one.id}{of} is up, and runs will use it")
            case "up":
                told.append(f"{one.id}{of} is up, and does not fit what would run now")
                remedies.append(f"harness stack down {one.id}")
            case "left over":
                told.append(f"{one.id} was left over")
            case kind:
                told.append(f"{one.id}{of} is {'held by a run' if kind == 'leased' else 'starting'}")
                remedies.append(f"wait until {one.id} has ended: it shares the processors")
    if any(one.kind == "left over" for one in stacks):
        remedies.append("nothing: what is left over goes when the next stack starts")
    found = "; ".join(told) or "none is up, none was left over"
    return Check("stacks", "warning" if remedies else "ok", found, "; ".join(remedies), numbers)
