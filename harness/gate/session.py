"""What several runs share: the stack they run on, where results go, who listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from harness.model.events import Event
from harness.model.stackfile import StackFile, load_stackfile
from harness.results.events import Handler
from harness.stack.docker.choice import Choice, choose
from harness.stack.runtime import Stack, find_running, up


@dataclass
class Session:
    """One command or one pytest session. Stacks come up when the first run wants them and go down at the end.

    overrides: extra environment per service; runtime: as it was asked for, auto too; app: process |
    container, the latter with docker alone; reuse: take a stack that `harness
    stack up` left running; abort_grace_ns: of the steady phase, after which a threshold that is broken beyond doubt
    ends the load; None: no run ends early.
    """

    results: Path
    handlers: list[Handler] = field(default_factory=list)
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    runtime: str = "local"
    reuse: bool = True
    allow_unvalidated: frozenset[str] = frozenset()
    abort_grace_ns: int | None = None
    app: str = "process"
    _stacks: dict[Path, Stack] = field(default_factory=dict)
    _choices: dict[Path, Choice] = field(default_factory=dict)

    def stack(self, path: Path, emit: Callable[[Event], None]) -> Stack:
        """The stack of `path`, brought up if it is not; one that is not as it should be any more is replaced."""
        stack = self._stacks.get(path)
        if stack is not None and not stack.healthy():
            self._stacks.pop(path).close()
            stack = None
        if stack is None:
            choice = self.choice(path, load_stackfile(path.resolve())[0], emit)
            stack = up(
                path,
                lease=True,
                emit=emit,
                overrides=self.overrides,
                allow_reuse=self.reuse,
                runtime=choice.runtime,
                app=self.app,
            )
            self._stacks[path] = stack
        return stack

    def choice(self, path: Path, file: StackFile, emit: Callable[[Event], None]) -> Choice:
        """What brings the stack of `path` up, and what cannot be had on it: chosen when first asked for, and told then.
        Raises HarnessError (not-validated) for a runtime that was asked for and is not to be had."""
        if path not in self._choices:
            look = self.reuse and self.runtime == "auto"
            running = find_running(path, self.overrides, app=self.app) if look else None
            if running is None:
                self._choices[path] = choose(self.runtime, file, emit)
            else:
                running.close()
                why = f"stack {running.id} is up on it"
                self._choices[path] = Choice(running.runtime, why, running.unavailable)
            for event in self._choices[path].events:
                emit(event)
        return self._choices[path]

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
