"""Drifted: data that a stream makes are changed, labels or inputs. The interface; whoever makes data implements it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import Field

from harness.core.errors import HarnessError, UsageError
from harness.faults.fault import Fault
from harness.faults.guarded import without_effect
from harness.faults.parameters import Parameters
from harness.faults.units import seconds_of
from harness.faults.waiting import wait_for
from harness.model.events import Event
from harness.model.stackfile import StackFile
from harness.stack.guard import not_undone
from harness.stack.handle import Stack

PATIENCE = 10.0  # seconds until the stream sends something


class Stream(Protocol):
    """What makes data, in this process: a change lasts as long as that. Called from several threads."""

    @property
    def name(self) -> str:
        """What events call it."""

    def set(self, change: Mapping[str, Any]) -> None:
        """From the next item on, change what this says. Raises UsageError fault-parameter for what it cannot."""

    def clear(self) -> None:
        """From the next item on, change nothing; may be called when nothing is changed."""

    def sent(self) -> tuple[int, int]:
        """Items that were sent since it began, and how many of these were changed; read at one moment."""


class DriftedParameters(Parameters):
    target = "stream"

    stream: str = Field(description="the stream that makes the data")
    change: dict[str, Any] = Field(description="what is changed, as the stream takes it")


class Drifted(Fault):
    """In force when the first changed item was sent, undone when one was sent after it and none of these was changed.

    A change that meets no item is fault-without-effect. A stream that sends nothing any more cannot be seen to be as it
    was: that is fault-not-undone.
    """

    name = "drifted"
    kind = "data"
    takes = DriftedParameters

    def __init__(
        self,
        stream: Stream,
        change: Mapping[str, Any],
        *,
        lasting: str | None = None,
        emit: Callable[[Event], None] | None = None,
    ) -> None:
        super().__init__(emit)
        self._stream = stream
        self._change = dict(change)
        self._lasting = lasting
        self._timer: threading.Timer | None = None
        self._before = (0, 0)

    @classmethod
    def on(cls, stack: Stack, parameters: Parameters, emit: Callable[[Event], None] | None = None) -> Drifted:
        cause = f"no stream in this stack; stack {stack.file.metadata.name} makes no data of its own"
        raise UsageError("fault-parameter", cause, "Make it from a stream: Drifted(stream, change).")

    @classmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        return ()

    @classmethod
    def lacking(cls, *_: object) -> str:
        return "no stream in this stack"

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({f"stream {self._stream.name}"})

    def parameters(self) -> dict[str, Any]:
        told = {"stream": self._stream.name, "change": self._change}
        return told if self._lasting is None else told | {"lasting": self._lasting}

    def _apply(self) -> str:
        seconds = None if self._lasting is None else seconds_of("lasting", self._lasting)
        self._before = self._stream.sent()
        if seconds is not None:
            self._timer = threading.Timer(seconds, self._stream.clear)
            self._timer.daemon = True
        self._stream.set(self._change)
        if self._timer is not None:
            self._timer.start()
        if not wait_for(lambda: self._counters()["changed"], PATIENCE):
            sent = self._counters()["sent"]
            raise without_effect(self._label, f"it was set, and of {sent} items that were sent since none was changed")
        return "the first changed item was sent"

    def _undo(self) -> str:
        try:
            self._stream.clear()
        finally:
            self._stop_timer()
        cleared = last = self._stream.sent()

        def unchanged() -> bool:
            nonlocal last
            now, before = self._stream.sent(), last
            last = now if now[1] != before[1] else before  # one may have been under way
            return now[0] > before[0] and now[1] == before[1]

        if not wait_for(unchanged, PATIENCE):
            sent = self._stream.sent()[0] - cleared[0]
            raise not_undone(self._label, f"{sent} items were sent after it was cleared, and changes go on")
        self._last = self._counters()
        return "an item was sent, and none was changed any more"

    def _abandon(self) -> None:
        self._stop_timer()
        with contextlib.suppress(HarnessError):  # what ended it is being raised
            self._stream.clear()

    def _counters(self) -> dict[str, int]:
        sent, changed = self._stream.sent()
        return {"sent": sent - self._before[0], "changed": changed - self._before[1]}

    @property
    def _label(self) -> str:
        return f"{self.name} on {self._stream.name}"

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
