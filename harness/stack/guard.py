"""The other end of the supervisor's undo list: what was changed is undone when this connection ends at the latest."""

from __future__ import annotations

import os
import time
import uuid
import weakref
from collections.abc import Sequence
from typing import Any

from harness.core.errors import HarnessError
from harness.stack.control import Control
from harness.stack.undo import Step

PATIENCE = 60.0  # seconds for an undo to be worked off; what may take long in it has limits of its own


class Guard:
    """A connection to the supervisor that holds one fault's entry in the undo list. It belongs to this process: a
    forked child gives it up. Methods raise HarnessError stack-lost and supervisor-refused."""

    def __init__(self, stack_id: str) -> None:
        self.key = uuid.uuid4().hex
        self._control = Control(stack_id)
        _open.add(self)

    def arm(self, label: str, steps: Sequence[Step], seconds: float | None = None) -> None:
        """From now on these steps are done in this order: when `undo` asks for it, when this process is gone by
        whatever that is, or after so many seconds. To be called before anything is changed. Steps are `{"do": ...}`
        with what `harness.stack.undo` has: signal, kill, start, full-speed, limits, write, remove, run."""
        more = {} if seconds is None else {"for": seconds}
        self._control.ask("arm", key=self.key, label=label, steps=list(steps), **more)

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Any other request to the supervisor."""
        return self._control.ask(op, **arguments)

    def state(self) -> dict[str, Any]:
        """The entry: state (armed | undoing | done | failed), by (asked | closed | time), errors."""
        entries = self._control.ask("undo-list")["entries"]
        found: dict[str, Any] = next(one for one in entries if one["key"] == self.key)
        return found

    def undo(self) -> str:
        """Have the steps done, and wait until they are; returns why they were: asked, or time. Raises HarnessError
        fault-not-undone when one of them failed."""
        self._control.ask("undo", key=self.key)
        until = time.monotonic() + PATIENCE
        while (told := self.state())["state"] == "undoing":
            if time.monotonic() > until:
                raise not_undone(told["label"], f"its undo was not done after {PATIENCE:.0f} s")
            time.sleep(0.005)
        if told["state"] == "failed":
            raise not_undone(told["label"], "; ".join(told["errors"]))
        by: str = told["by"]
        return by

    def close(self) -> None:
        """Has what is armed undone, without waiting for it; a second call does nothing."""
        self._control.close()


def not_undone(what: str, how: str) -> HarnessError:
    return HarnessError(
        "fault-not-undone",
        f"{what}: {how}",
        "Do not believe what is measured on this stack from now on; bring it up anew.",
    )


_open: weakref.WeakSet[Guard] = weakref.WeakSet()


def _close_in_child() -> None:
    """A forked child must not keep a fault alive after its parent's death."""
    for guard in list(_open):
        guard.close()


os.register_at_fork(after_in_child=_close_in_child)
