"""What a finding or a run came to, and the exit code that says so to a shell."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class Outcome(StrEnum):
    """The one word over a finding or a verdict."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"  # data, too few to decide
    NO_DATA = "no-data"  # none where some was due
    ERROR = "error"  # could not be measured
    NOT_VALIDATED = "not-validated"  # a service or a right is missing on this machine
    INTERRUPTED = "interrupted"
    USAGE = "usage"  # a file or a flag that cannot be used


class ExitCode(IntEnum):
    """Exit codes of the `harness` command; pytest has its own."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    UNDECIDED = 3
    ERROR = 4
    INTERRUPTED = 130


_EXIT = {
    Outcome.INTERRUPTED: ExitCode.INTERRUPTED,
    Outcome.USAGE: ExitCode.USAGE,
    Outcome.FAIL: ExitCode.FAIL,
    Outcome.ERROR: ExitCode.ERROR,
    Outcome.NO_DATA: ExitCode.UNDECIDED,
    Outcome.INCONCLUSIVE: ExitCode.UNDECIDED,
    Outcome.NOT_VALIDATED: ExitCode.UNDECIDED,
    Outcome.PASS: ExitCode.PASS,
}
_RANK = {outcome: rank for rank, outcome in enumerate(_EXIT)}


def exit_code(outcome: Outcome) -> ExitCode:
    """The exit code of a run that ended in `outcome`."""
    return _EXIT[outcome]


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome that outranks the others; of none at all, `no-data`: nothing judged is nothing passed."""
    return min(outcomes, key=_RANK.__getitem__, default=Outcome.NO_DATA)
