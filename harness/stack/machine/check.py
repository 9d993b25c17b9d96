"""One thing about this machine: what was found, whether it is fit, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

State = Literal["ok", "warning", "problem"]
Name = Literal[
    "python",
    "programs",
    "isolation",
    "mounts",
    "ports",
    "files",
    "cores",
    "memory",
    "disk",
    "shm",
    "load",
    "steal",
    "clock",
    "timer",
    "environment",
    "docker",
    "runtime",
    "stacks",
]
NAMES: tuple[Name, ...] = get_args(Name)
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """state: ok | warning (a run may suffer) | problem (no stack comes up here, or not the one that was asked for);
    found: one sentence with numbers; remedy: what to do, '' where nothing is wrong; numbers: what was read, for
    programs (times in seconds, sizes in bytes, None where it could not be told)."""

    name: Name
    state: State
    found: str
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "found": self.found,
            "remedy": self.remedy,
            "numbers": dict(self.numbers),
        }


def size(number: float) -> str:
    """Bytes as people read them: `512 MiB`, `1.2 GiB`."""
    return f"{number / MIB:.0f} MiB" if number < 1000 * MIB else f"{number / (1024 * MIB):.1f} GiB"
