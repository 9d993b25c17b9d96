"""Faults that stay until something undoes them: the steps are armed with the supervisor before anything is changed."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from harness.core.errors import HarnessError
from harness.faults.fault import Fault
from harness.faults.parameters import Parameters
from harness.faults.units import seconds_of
from harness.faults.waiting import wait_for
from harness.model.events import Event
from harness.stack.guard import Guard, not_undone
from harness.stack.handle import Stack
from harness.stack.undo import Step

PATIENCE = 10.0  # seconds until an effect shows


class GuardedFault(Fault):
    """Base of faults on a stack. It ends with this process at the latest, by whatever that is ended: then the
    supervisor does the steps, as it does when `end` asks for it."""

    def __init__(self, stack: Stack, parameters: Parameters, emit: Callable[[Event], None] | None = None) -> None:
        super().__init__(emit)
        self.stack = stack
        self.given = parameters
        self._guard: Guard | None = None

    @property
    def guard(self) -> Guard:
        """While it is being put in force, is in force, and is being undone."""
        assert self._guard is not None
        return self._guard

    @property
    def label(self) -> str:
        """What an error calls it."""
        return f"{self.name} on {self.given.on}" if self.given.on else self.name

    def parameters(self) -> dict[str, Any]:
        return self.given.model_dump(mode="json", exclude_none=True)

    @abstractmethod
    def _undo_steps(self) -> Sequence[Step]:
        """How to undo it, from what is seen now; nothing has been changed yet."""

    @abstractmethod
    def _break(self) -> None:
        """Change what is to be changed."""

    @abstractmethod
    def _seen(self) -> str:
        """How it is seen to be in force now; '' if it is not, or not yet."""

    @abstractmethod
    def _gone(self) -> str:
        """How it is seen to be undone, the system as it was; '' if not yet."""

    @property
    def _patience(self) -> float:
        """Seconds until the system is as it was, after the steps were done."""
        return PATIENCE

    def _counters(self) -> dict[str, int]:
        return {}

    def _apply(self) -> str:
        self._guard = self.stack.guard()
        lasting = self.given.lasting
        self._guard.arm(self.label, self._undo_steps(), None if lasting is None else seconds_of("lasting", lasting))
        self._break()
        seen = wait_for(self._seen, PATIENCE)
        if not seen:
            raise without_effect(self.label, "it was set, and nothing shows that it is in force")
        return seen

    def _undo(self) -> str:
        try:
            ended = self.guard.state()["by"] == "time"
            if not ended and not self._seen():
                self._undo_and_see()
                raise without_effect(self.label, "it was in force at first, and was not any more before it was undone")
            how = self._undo_and_see()
        finally:
            self._close()
        return f"it had ended by itself, and {how}" if ended else how

    def _undo_and_see(self) -> str:
        self.guard.undo()
        how = wait_for(self._gone, self._patience)
        if not how:
            raise not_undone(self.label, "its steps were done, and the system is not as it was")
        return how

    def _abandon(self) -> None:
        if self._guard is not None:
            raised = sys.exception()
            try:
                self._guard.undo()
            except HarnessError as undone:  # the supervisor keeps it too, and such a stack is not healthy
                if raised is not None:
                    raised.add_note(f"and then {undone.render()}")
            finally:
                self._close()

    def _close(self) -> None:
        if self._guard is not None:
            self._guard.close()
            self._guard = None


def without_effect(what: str, seen: str) -> HarnessError:
    return HarnessError(
        "fault-without-effect",
        f"{what}: {seen}",
        "Nothing that was measured under it counts. See docs/faults.md for how it is confirmed.",
    )
