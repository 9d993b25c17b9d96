"""Faults for people: what can be broken here, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from harness.faults.fault import Fault
from harness.faults.making import impossible
from harness.model.stackfile import StackFile
from harness.stack.availability import Unavailable

MOST = 2  # names of a kind that are spelled out
DATA = "not in any stack: drifted, as stack.yaml names no stream of data; from Python, harness.faults.drifted takes one"


@dataclass(frozen=True, slots=True)
class Possible:
    """One fault in one stack on this machine. on: what it can be put on; impossible: what not -> why, remedy."""

    fault: str
    kind: str
    parameter: str  # that says what is broken; '' if there is nothing to choose
    on: tuple[str, ...]
    impossible: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, made: type[Fault], file: StackFile, missing: Mapping[str, Unavailable]) -> Possible:
        can, cannot = [], {}
        for target in made.targets(file):
            if (why := impossible(made, file, target, missing)) is None:
                can.append(target)
            else:
                cannot[target] = {"why": why[0], "remedy": why[1]}
        return cls(made.name, made.kind, made.takes.target, tuple(can), cannot)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def print_faults(found: Sequence[Possible], console: Console) -> None:
    """The table, and below it what cannot be had here, each reason once with all that it holds for."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("kind", "fault", "can be put on, here"):
        table.add_column(name, overflow="fold", no_wrap=name != "can be put on, here")
    every = {kind: _targets_of_kind(found, kind) for kind in dict.fromkeys(one.kind for one in found)}
    for one in found:
        table.add_row(one.kind, one.fault, _abbreviated(one.on, every[one.kind], one.kind) if one.on else _none(one))
    console.print(table)
    whys: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        for target, said in one.impossible.items():
            whys.setdefault((one.fault, said["why"], said["remedy"]), []).append(target)
    for (fault, why, remedy), targets in whys.items():
        told = f"not here: {fault} on {', '.join(targets)}: {why}; remedy: {remedy}"
        console.print(told, markup=False, soft_wrap=True)
    console.print(DATA, markup=False, soft_wrap=True)


def _targets_of_kind(found: Sequence[Possible], kind: str) -> tuple[str, ...]:
    """All that some fault of this kind can be put on."""
    return tuple(dict.fromkeys(target for one in found if one.kind == kind for target in one.on))


def _abbreviated(on: Sequence[str], every: Sequence[str], kind: str) -> str:
    if len(on) <= MOST:
        return ", ".join(on)
    if set(on) == set(every):
        return f"every {kind}: {', '.join(on[:MOST])}, ... ({len(on)})"
    return ", ".join(on)


def _none(one: Possible) -> str:
    return "nothing here, see below" if one.impossible else "nothing in this stack"
