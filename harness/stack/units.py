"""What has to become ready before a stack is: artefacts, services, jobs, links. Each is polled, none waits."""

from __future__ import annotations

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import HarnessError
from harness.stack.artefacts import Build, touch
from harness.stack.control import Control
from harness.stack.services.recipe import Command, Plan

Status = Mapping[str, Mapping[str, Any]]
Probe = Callable[[], str | None]
LINE = 300  # characters of a log line that are shown
MAX_PAUSE = 0.25  # seconds between probes of one service at most


class UnitFailed(Exception):
    """A unit that will not become ready; the message says how."""


@dataclass(frozen=True)
class Spawner:
    """Starts processes of one unit under the supervisor: its environment, directory and log."""

    control: Control
    env: Mapping[str, str]
    directory: Path
    log: Path

    def start(self, name: str, command: Command) -> None:
        """Raises UnitFailed when it cannot be started."""
        env = {**self.env, **command.env}
        if command.env.get("LD_LIBRARY_PATH") and self.env.get("LD_LIBRARY_PATH"):
            env["LD_LIBRARY_PATH"] = os.pathsep.join([command.env["LD_LIBRARY_PATH"], self.env["LD_LIBRARY_PATH"]])
        cwd = command.cwd or self.directory
        arguments = {"argv": list(command.argv), "env": env, "cwd": str(cwd), "log": str(self.log)}
        try:
            self.control.ask("start", name=name, **arguments)
        except HarnessError as error:
            if error.slug != "supervisor-refused":
                raise
            raise UnitFailed(f"could not be started: {error.cause}") from error


class Unit(ABC):
    """Base. `poll` is called until it returns True; `detail` then says what became ready."""

    artefact = False

    def __init__(self, name: str, needs: frozenset[str], timeout: float, spawner: Spawner) -> None:
        self.name = name
        self.needs = needs
        self.timeout = timeout
        self.spawner = spawner
        self.detail = ""
        self.began = 0.0  # monotonic seconds

    def begin(self) -> None:
        """Called once, when all that it needs is ready."""
        self.began = time.monotonic()

    @abstractmethod
    def poll(self, status: Status) -> bool:
        """Whether it is ready now. Raises UnitFailed."""

    def check_time(self) -> None:
        if time.monotonic() - self.began > self.timeout:
            raise UnitFailed(f"was not ready after {self.timeout:.0f} s")


class ServiceUnit(Unit):
    """A long-running process, or with no `probe` a job: what `plan` prepares, then the process itself.

    plan is called when it begins, so that what it needs is there.
    """

    def __init__(
        self,
        name: str,
        needs: frozenset[str],
        timeout: float,
        spawner: Spawner,
        plan: Callable[[], Plan],
        probe: Probe | None,
    ) -> None:
        super().__init__(name, needs, timeout, spawner)
        self._plan = plan
        self._probe = probe
        self._steps: list[tuple[str, Command]] = []
        self._running = ""
        self._pause = 0.01
        self._next_probe = 0.0

    def begin(self) -> None:
        super().begin()
        plan = self._plan()
        self._steps = [(f"{self.name}/prepare-{at}", command) for at, command in enumerate(plan.prepare)]
        self._steps.append((self.name, plan.main))
        self._advance()

    def _advance(self) -> None:
        self._running, command = self._steps.pop(0)
        self.spawner.start(self._running, command)

    def poll(self, status: Status) -> bool:
        process = status.get(self._running)
        if process is not None and process["state"] == "exited":
            if process["code"] != 0 or (not self._steps and self._probe is not None):
                raise UnitFailed(f"{ending(process['code'])} before it was ready")
            if not self._steps:
                self.detail = f"done in {time.monotonic() - self.began:.1f} s"
                return True
            self._advance()
        elif not self._steps and self._probe is not None and time.monotonic() >= self._next_probe:
            found = self._probe()
            if found is not None:
                self.detail = found
                return True
            self._pause = min(MAX_PAUSE, self._pause * 1.2)
            self._next_probe = time.monotonic() + self._pause
        self.check_time()
        return False


class ArtefactUnit(Unit):
    """An artefact that is taken from the cache, or built under the supervisor."""

    artefact = True

    def __init__(
        self, name: str, timeout: float, spawner: Spawner, build: Build, argv: Callable[[Path], Command]
    ) -> None:
        super().__init__(f"artefact/{name}", frozenset(), timeout, spawner)
        self.build = build
        self._argv = argv
        self.state: Literal["new", "waiting", "building", "cached"] = "new"

    def begin(self) -> None:
        super().begin()
        self._look()

    def _look(self) -> None:
        if self.build.target.is_dir():
            self.state = "cached"
            touch(self.build.target)
        elif self.build.acquire():
            if self.build.target.is_dir():  # the one that had the lock before built it
                self.build.close()
                self._look()
                return
            self.state = "building"
            self.spawner.start(self.name, self._argv(self.build.directory))
        else:
            self.state = "waiting"

    def poll(self, status: Status) -> bool:
        if self.state == "waiting":
            self._look()
        if self.state == "cached":
            self.detail = "from the cache"
            return True
        process = status.get(self.name)
        if self.state == "building" and process is not None and process["state"] == "exited":
            if process["code"] != 0:
                self.build.close()
                raise UnitFailed(f"its command {ending(process['code'])}")
            self.build.finish()
            self.build.close()
            self.detail = f"built in {time.monotonic() - self.began:.1f} s"
            return True
        self.check_time()
        return False


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, without the colours that some servers write; '' if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 64 * 1024))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    shown = ("".join(c for c in line if c.isprintable()) for line in text.splitlines()[-lines:])
    return "\n".join(line if len(line) <= LINE else f"{line[:LINE]}..." for line in shown)
