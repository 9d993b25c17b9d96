"""What every fault is: it says what it touches, is seen to be in force, and is seen to be undone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from harness.core.clock import mono_ns, wall_ns
from harness.core.errors import HarnessError
from harness.faults.parameters import Parameters
from harness.model.events import Event, FaultEvent
from harness.model.stackfile import StackFile
from harness.stack.availability import Unavailable
from harness.stack.handle import Stack

Kind = Literal["link", "service", "store", "signal", "data"]


class Fault(ABC):
    """Base, and a context manager. `begin` returns when the fault is seen to be in force, `end` when it is seen to be
    undone. emit: told a FaultEvent at each of the two.

    A class says of itself, for YAML, command line, catalogue and `harness fault list`:
    name: in kebab-case, unique; kind: what it breaks; takes: what may be given, with its defaults.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    takes: ClassVar[type[Parameters]]

    @classmethod
    @abstractmethod
    def on(cls, stack: Stack, parameters: Parameters, emit: Callable[[Event], None] | None = None) -> Fault:
        """Make it for a stack from checked parameters. Raises UsageError for what the stack does not have."""

    @classmethod
    @abstractmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        """What in this stack file it could be put on, as its parameter `Parameters.target` names it; () if nothing."""

    @classmethod
    def lacking(cls, file: StackFile, target: str, missing: Mapping[str, Unavailable]) -> str:
        """Why this machine cannot put it on `target`, in one sentence with what would help; '' if it can. missing: the
        services that cannot be had here."""
        service = cls.service_of(file, target)
        return f"{service} cannot be had here: {missing[service].cause}" if service in missing else ""

    @classmethod
    def service_of(cls, file: StackFile, target: str) -> str:
        """The service that it needs to be there, or ''."""
        return target if target in file.spec.services else ""

    @classmethod  # noqa: B027 (for most the model says it all)
    def check(cls, parameters: Parameters) -> None:
        """Raises UsageError fault-parameter for values that do not go together; needs no stack."""

    def __init__(self, emit: Callable[[Event], None] | None = None) -> None:
        self._emit = emit
        self._in_force = False
        self._last: dict[str, int] = {}

    @property
    def in_force(self) -> bool:
        """From the end of `begin` to that of `end`."""
        return self._in_force

    @property
    @abstractmethod
    def touches(self) -> frozenset[str]:
        """What it breaks, as `link NAME` or `service NAME`: faults that share none of it may be in force together."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What it was made with, as plain JSON values."""

    @abstractmethod
    def _apply(self) -> str:
        """Put it in force and see that it is; returns by what."""

    @abstractmethod
    def _undo(self) -> str:
        """Undo it and see that it is; returns by what. Raises HarnessError fault-not-undone."""

    @abstractmethod
    def _abandon(self) -> None:
        """Undo what there is of it, whatever that is, and do not raise."""

    @abstractmethod
    def _counters(self) -> dict[str, int]:
        """What it has done so far."""

    def _check_met(self, counters: Mapping[str, int]) -> None:  # noqa: B027 (most faults cannot tell)
        """Raises HarnessError fault-without-effect when nothing met it while it was in force."""

    def counters(self) -> dict[str, int]:
        """What it has done so far to others than our own probes; after its end, what it did in all."""
        if self._in_force:
            self._last = self._counters()
        return dict(self._last)

    def begin(self) -> None:
        """Raises HarnessError fault-without-effect when it cannot be seen to be in force; nothing is left then."""
        if self._in_force:
            raise RuntimeError(f"{self.name} is in force already")
        self._last = {}
        with ExitStack() as undo:  # whatever ends it early: Ctrl-C too, and an event that could not be written
            undo.callback(self._give_up)
            how = self._apply()
            self._in_force = True
            self._tell("begin", how)
            undo.pop_all()

    def _give_up(self) -> None:
        self._in_force = False
        self._abandon()

    def end(self) -> None:
        """Does nothing unless it is in force. Raises HarnessError: fault-not-undone; fault-without-effect, after it is
        undone, when nothing met it."""
        if self._undo_and_tell():
            self._check_met(self._last)

    def _undo_and_tell(self) -> bool:
        """Whether there was anything to undo."""
        if not self._in_force:
            return False
        try:
            how = self._undo()
        finally:
            self._in_force = False
        self._tell("end", how)
        return True

    def _tell(self, edge: str, how: str) -> None:
        wall, mono = wall_ns(), mono_ns()
        if self._emit is not None:
            touches = tuple(sorted(self.touches))
            self._emit(FaultEvent(self.name, touches, edge, wall, mono, how, self.parameters(), dict(self._last)))

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
            return
        try:  # what was raised matters more than that nothing met the fault
            self._undo_and_tell()
        except HarnessError as undone:
            error.add_note(f"and then {undone.render()}")
