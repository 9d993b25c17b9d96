"""The one exception base. Each error has a stable slug, a cause and a remedy; docs/errors.md lists them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.outcome import Outcome

_AROUND = 100  # characters of a line that are shown on either side of a caret


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file the user wrote. `line` and `column` count from 1; `width` is how far the caret reaches."""

    path: Path
    line: int
    column: int
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    def caret(self) -> str:
        """The source line with a caret line below it, or nothing when the text is not known."""
        if not self.text:
            return ""
        begin = max(0, self.column - 1 - _AROUND)  # a line may be a million characters long
        shown = self.text[begin : begin + 2 * _AROUND]
        column = self.column - 1 - begin
        return f"    {shown}\n    {' ' * column}{'^' * max(1, min(self.width, len(shown) - column))}"


class HarnessError(Exception):
    """Something the user can act on.

    slug: stable identifier, the key in docs/errors.md; cause: what happened, with names and numbers;
    remedy: the next step; outcome: what a run ends in because of it; location: where, if in a file; also: more errors
    of the same file, found on the way.
    """

    also: tuple[HarnessError, ...] = ()

    def __init__(
        self,
        slug: str,
        cause: str,
        remedy: str,
        *,
        outcome: Outcome = Outcome.ERROR,
        location: Location | None = None,
    ) -> None:
        super().__init__(slug, cause, remedy)
        self.slug = slug
        self.cause = cause
        self.remedy = remedy
        self.outcome = outcome
        self.location = location

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """The error as a person reads it: where, what, the caret, what to do."""
        where = f"{self.location}: " if self.location else ""
        parts = [f"{where}{self.slug}: {self.cause}"]
        if self.location and (caret := self.location.caret()):
            parts.append(caret)
        parts.append(f"  remedy: {self.remedy}")
        return "\n".join(parts)


class UsageError(HarnessError):
    """A file or a flag that cannot be used: exit code 2, and nothing was started."""

    def __init__(self, slug: str, cause: str, remedy: str, *, location: Location | None = None) -> None:
        super().__init__(slug, cause, remedy, outcome=Outcome.USAGE, location=location)


@contextmanager
def gathered(errors: list[UsageError]) -> Iterator[None]:
    """Puts a UsageError of the block into `errors` instead of raising it, so that others can be looked for."""
    try:
        yield
    except UsageError as error:
        errors.append(error)


def first_of(errors: Sequence[UsageError]) -> UsageError:
    """The first of them, which knows the others: `also`."""
    errors[0].also = tuple(errors[1:])
    return errors[0]
