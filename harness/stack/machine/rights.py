"""What this user may do here: hold a stack together, mount, and listen on ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.model.stackfile import StackFile
from harness.stack.isolation import VARIABLE, best_isolation
from harness.stack.layout import ports_needed
from harness.stack.machine.check import Check
from harness.stack.machine.stacks import FoundStack
from harness.stack.ports import PortBlock, fixed_port
from harness.stack.services.relocated import may_mount

USUAL_PORTS = 40  # of a stack about as large as the reference one, when none is given
_MEANING = {
    "pidns": "a PID namespace: when a stack ends, however it ends, the kernel ends all of it",
    "userns": "a user and PID namespace: when a stack ends, however it ends, the kernel ends all of it",
    "subreaper": "no namespace: a stack ends with its supervisor, and what outlives SIGKILL of that is swept later",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """What could not be had, as the error that a run would end in says it."""

    slug: str
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Ports:
    """needed: how many; first: of the block that is free, or why there is none; taken: the fixed ports that are in use,
    `service.port` and number with what says by whom."""

    needed: int
    first: int | None
    refused: Refused | None
    taken: Sequence[tuple[str, int, Refused]]


def read_isolation() -> str | Refused:
    """pidns | userns | subreaper. Raises UsageError isolation-unknown."""
    try:
        return best_isolation()
    except HarnessError as error:
        return _refused(error)


def read_mounts() -> bool:
    """Whether a mount namespace may be made and mounted in."""
    return may_mount()


def read_ports(file: StackFile | None) -> Ports:
    """Reserves a block, and gives it back."""
    needed, taken = USUAL_PORTS, []
    if file is not None:
        needed = ports_needed(file)
        for name, service in file.spec.services.items():
            for port, number in service.fixed_ports.items():
                try:
                    fixed_port(name, port, number)
                except HarnessError as error:
                    taken.append((f"{name}.{port}", number, _refused(error)))
    try:
        block = PortBlock.reserve(needed)
    except HarnessError as error:
        return Ports(needed, None, _refused(error), taken)
    block.close()
    return Ports(needed, block.start, None, taken)


def _refused(error: HarnessError) -> Refused:
    if error.outcome is Outcome.USAGE:
        raise error
    return Refused(error.slug, error.cause, error.remedy)


def check_isolation(told: str | Refused) -> Check:
    """How the processes of a stack are held together."""
    if isinstance(told, Refused):
        return Check("isolation", "problem", told.cause, told.remedy, {"kind": None, "slug": told.slug})
    numbers = {"kind": told, "slug": None}
    if told == "subreaper":
        remedy = (
            f"Allow user namespaces (sysctl, or the container's security profile) to get more; unset {VARIABLE} if "
            "it is set. It does for a machine of your own."
        )
        return Check("isolation", "warning", f"{told}, {_MEANING[told]}", remedy, numbers)
    return Check("isolation", "ok", f"{told}, {_MEANING[told]}", numbers=numbers)


def check_mounts(may: bool) -> Check:
    """Whether unpacked programs can be shown files where they look for them, and a stack gets its own /dev/shm."""
    numbers = {"may": may}
    if may:
        return Check("mounts", "ok", "this user may make mount namespaces", numbers=numbers)
    remedy = "Allow them, or install Alertmanager for the whole machine: an unpacked one needs them."
    return Check("mounts", "warning", "this user may make no mount namespace", remedy, numbers)


def check_ports(ports: Ports, stacks: Sequence[FoundStack]) -> Check:
    """Whether a stack finds its ports; those that a usable stack of this file has already are no obstacle."""
    ours = {number for one in stacks if one.usable for number in one.ports}
    others = [(place, number, why) for place, number, why in ports.taken if number not in ours]
    numbers = {
        "needed": ports.needed,
        "first": ports.first,
        "taken": {place: number for place, number, _ in others},
    }
    if others:
        found = "; ".join(why.cause for _, _, why in others)
        remedy = " ".join(dict.fromkeys(why.remedy for _, _, why in others))
        if holders := [one for one in stacks if not one.usable and one.ports & {number for _, number, _ in others}]:
            remedy = " ".join(f"harness stack down {one.id}" for one in holders)
        return Check("ports", "problem", found, remedy, numbers)
    if ports.refused is not None:
        return Check("ports", "problem", ports.refused.cause, ports.refused.remedy, numbers)
    found = f"a block from {ports.first} on has room for the {ports.needed} that are wanted"
    if ports.taken:
        found += f"; {len(ports.taken)} fixed ones belong to the stack that is up"
    return Check("ports", "ok", found, numbers=numbers)
