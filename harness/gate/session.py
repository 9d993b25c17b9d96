"""What several runs share: the stack they run on, where results go, who listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.model.events import Event
from harness.results.events import Handler
from harness.stack.runtime import Stack, up

RUNTIMES = ("local", "docker", "external")


@dataclass
class Session:
    """One command or one pytest session. Stacks come up when the first run wants them and go down at the end.

    overrides: extra environment per service; reuse: take a stack that `harness stack up` left running; abort_grace_ns:
    of the steady phase, after which a threshold that is broken beyond doubt ends the load; None: no run ends early.
    """

    results: Path
    handlers: list[Handler] = field(default_factory=list)
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    runtime: str = "local"
    reuse: bool = True
    allow_unvalidated: frozenset[str] = frozenset()
    abort_grace_ns: int | None = None
    _stacks: dict[Path, Stack] = field(default_factory=dict)

    def stack(self, path: Path, emit: Callable[[Event], None]) -> Stack:
        """The stack of `path`, brought up if it is not; one that is not as it should be any more is replaced."""
        if self.runtime != "local":
            raise HarnessError(
                "runtime-not-built",
                f"the {self.runtime} runtime is not in this version",
                "Use --runtime local (--slo-runtime local under pytest).",
                outcome=Outcome.NOT_VALIDATED,
            )
        stack = self._stacks.get(path)
        if stack is not None and not stack.healthy():
            self._stacks.pop(path).close()
            stack = None
        if stack is None:
            stack = up(path, lease=True, emit=emit, overrides=self.overrides, allow_reuse=self.reuse)
            self._stacks[path] = stack
        return stack

    def tell(self, event: Event) -> None:
        """Hand an event that belongs to no run to the handlers."""
        for handler in self.handlers:
            handler(event)

    def close(self) -> None:
        """Take down the stacks that this session brought up; one that was there before stays."""
        while self._stacks:
            self._stacks.popitem()[1].close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
