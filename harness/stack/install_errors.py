"""What the installer says when something cannot be had. All of it ends in `not-validated`: nothing was measured."""

from __future__ import annotations

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.stack.toolspec import Kit


def install_failed(cause: str, said: tuple[str, ...] = (), kit: Kit | None = None) -> HarnessError:
    """A package that could not be fetched or unpacked; `said` are the last lines of the program that failed."""
    return HarnessError(
        "install-failed",
        with_lines(cause, said),
        f"put this right and run the command again, or {elsewhere(kit)}",
        outcome=Outcome.NOT_VALIDATED,
    )


def elsewhere(kit: Kit | None) -> str:
    """How to do without the installer."""
    if kit is None:
        return (
            "get the programs from their projects' download pages and put them on PATH "
            "(or name them in SLO_HARNESS_TOOL_...)"
        )
    return f"get it from {kit.upstream} and put it on PATH (or name it in SLO_HARNESS_TOOL_...)"


def with_lines(cause: str, said: tuple[str, ...]) -> str:
    """The cause with what a program said below it, indented."""
    return "\n".join((cause + (":" if said else ""), *(f"    {line}" for line in said)))
