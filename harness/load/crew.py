"""All workers of one load: how they are started, heard and let go. Here they are processes of this machine."""

from __future__ import annotations

import selectors
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.load.worker_process import WorkerProcess
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir


class Member(Protocol):
    """One worker, wherever it is. stage: started | imported | ready | ended; closed: it will say nothing more."""

    name: str
    tick: dict[str, Any]
    seconds: int
    length_ns: int
    stage: str
    closed: bool

    @property
    def pid(self) -> int:
        """Its process', or 0 if that is not on this machine."""

    def tell(self, message: dict[str, Any]) -> None:
        """Send one command. A worker that has died meanwhile is noticed by `closed`."""

    def ended_how(self) -> str:
        """How one that has closed came to its end."""

    def last_lines(self) -> list[str]:
        """The end of its log."""

    def terminate(self) -> None:
        """Ask it to write what it has and end."""

    def reap(self) -> None:
        """See to it that it has ended."""


class Crew(Protocol):
    def start(self, plan: LoadPlan) -> Sequence[Member]:
        """Bring up as many workers as the plan has."""

    def wait(self, seconds: float) -> list[tuple[Member, list[dict[str, Any]]]]:
        """What workers have said, at least one of them unless the time is over; one that has closed is told once."""

    def close(self) -> None:
        """Let go of what is shared; the workers have been reaped."""


class LocalCrew:
    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._selector = selectors.DefaultSelector()

    def start(self, plan: LoadPlan) -> Sequence[Member]:
        workers = []
        for index in range(plan.workers):
            described, samples, log = paths(self._run, index)
            worker = WorkerProcess(described, index, samples, log)
            workers.append(worker)
            self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return workers

    def wait(self, seconds: float) -> list[tuple[Member, list[dict[str, Any]]]]:
        heard: list[tuple[Member, list[dict[str, Any]]]] = []
        for key, _ in self._selector.select(timeout=max(0.0, seconds)):
            worker: WorkerProcess = key.data
            heard.append((worker, worker.messages()))
            if worker.closed:
                self._selector.unregister(worker.output)
        return heard

    def close(self) -> None:
        self._selector.close()


def paths(run: RunDir, index: int) -> tuple[Path, Path, Path]:
    """Where the plan is, and where worker number `index` leaves its samples and its log."""
    return run.path / "load-plan.json", run.load / f"load-{index}.jsonl", run.logs / f"load-{index}.log"
