"""Which runtime would bring the stack up here."""

from __future__ import annotations

from harness.model.stackfile import StackFile
from harness.stack.docker.choice import Choice, look
from harness.stack.machine.check import Check


def check_runtime(wanted: str, file: StackFile | None) -> tuple[Check | None, Choice | None]:
    """Whether the runtime that is asked for can be had, and what it would be; nothing without a stack. Nothing is
    pulled, and only an engine of this machine is asked."""
    if file is None:
        return None, None
    choice, lack = look(wanted, file)
    numbers = {"asked": wanted, "taken": choice.runtime if lack is None else None}
    if lack is not None:
        return Check("runtime", "problem", f"{wanted} cannot be had: {lack.cause}", lack.remedy, numbers), choice
    asked = f"{wanted}: " if wanted != choice.runtime else ""
    return Check(
        "runtime", "ok", f"{asked}{choice.runtime}{f', {choice.why}' if choice.why else ''}", "", numbers
    ), choice
