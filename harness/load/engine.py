"""The parent's side of load: starts the workers, gives them one origin, adds up their ticks. No Locust in here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.core.clock import mono_ns
from harness.core.errors import HarnessError, Location, UsageError
from harness.load.crew import Crew, LocalCrew, Member
from harness.load.losses import Losses
from harness.model.events import LoadTick
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir

LEAD_NS = 200_000_000  # from telling the workers to the first arrival
END_LEAD_NS = 100_000_000  # from telling them to the end of their timetables
PREPARE_SECONDS = 60.0
_OVER = ("ended", "died")
SILENCE_SECONDS = 30.0  # a worker that says nothing for longer is taken for hung; it speaks every second


class LoadEngine:
    """One run's load. prepare, start, ticks, stop; stop may be called at any time and any number of times, and
    end_early while ticks come.

    plan.host may be "" if it is given to `start` instead, so that a scenario can be checked while its target starts.
    crew: the workers, by default processes of this machine. With plan.rebalance those that are left send what one that
    died had still to send.
    """

    def __init__(self, plan: LoadPlan, run: RunDir, crew: Crew | None = None) -> None:
        self._plan = plan
        self._run = run
        self._crew = crew or LocalCrew(run)
        self._losses = Losses(plan, run)
        self._workers: Sequence[Member] = ()

    @property
    def pids(self) -> list[int]:
        """The worker processes'; of one on another machine 0."""
        return [worker.pid for worker in self._workers]

    def prepare(self) -> None:
        """Start the workers, import the scenario, and if the host is known, wait until all users stand ready.

        Raises UsageError scenario-import-failed (located if possible), scenario-empty; HarnessError worker-failed.
        """
        self._run.write("load-plan.json", self._plan.as_dict())
        self._workers = self._crew.start(self._plan)
        self._await("imported")
        if self._plan.host:
            self._ready(self._plan.host)

    def start(self, host: str | None = None) -> int:
        """Tell all workers the origin of the timetable; returns it (CLOCK_MONOTONIC ns, a little ahead).

        host: the target, if the plan did not name it. Raises HarnessError worker-failed.
        """
        if host is not None:
            self._ready(host)
        for worker in self._workers:
            if worker.stage != "ready":
                raise HarnessError("worker-failed", "no target was named", "Give a host in the plan or to start().")
        origin = mono_ns() + LEAD_NS
        for worker in self._workers:
            worker.tell({"start": origin})
        return origin

    def ticks(self) -> Iterator[LoadTick]:
        """One LoadTick a second, summed over workers, until all have ended. Raises HarnessError worker-died."""
        told = 0
        while not all(worker.stage in _OVER for worker in self._workers):
            for worker, message in self._messages(SILENCE_SECONDS, started=True):
                if "tick" in message:
                    worker.tick, worker.seconds = message["tick"], worker.seconds + 1
                elif "end" in message:
                    worker.stage, worker.length_ns = "ended", message["length"]
            running = [worker.seconds for worker in self._workers if worker.stage not in _OVER]
            slowest = min(running) if running else max((worker.seconds for worker in self._workers), default=0)
            if slowest > told:
                told = slowest
                yield self._sum()
        self._losses.write(self.length_ns)

    @property
    def settled(self) -> int:
        """How many whole seconds since the origin there are whose arrivals have all been answered and written down."""
        alive = (worker for worker in self._workers if worker.stage != "died")
        return min((worker.tick.get("settled", 0) for worker in alive), default=0)

    @property
    def length_ns(self) -> int:
        """From the origin to the end of the steady phase: as planned until all workers have ended, then as it was."""
        return max((worker.length_ns for worker in self._workers), default=0) or self._plan.length_ns

    def end_early(self) -> None:
        """Send nothing more from now on. What is under way is answered and recorded, then the ticks end."""
        moment = mono_ns() + END_LEAD_NS
        for worker in self._workers:
            if worker.stage not in _OVER:
                worker.tell({"end_at": moment})

    def stop(self) -> None:
        """End all workers: SIGTERM, upon which they write what they have, then SIGKILL."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.reap()
        self._crew.close()
        self._workers = ()

    def _ready(self, host: str) -> None:
        for worker in self._workers:
            worker.tell({"host": host})
        self._await("ready")

    def _await(self, stage: str) -> None:
        while any(worker.stage != stage for worker in self._workers):
            for worker, message in self._messages(PREPARE_SECONDS, started=False):
                if "failed" in message:
                    raise self._refused(worker, message["failed"])
                if stage in message:
                    worker.stage = stage

    def _messages(self, patience: float, *, started: bool) -> Iterator[tuple[Member, dict[str, Any]]]:
        """What the workers say next; patience: seconds that none may say anything.

        Raises HarnessError worker-died when one ends unasked or hangs and nobody takes over, and worker-failed before
        they are started.
        """
        deadline = time.monotonic() + patience
        while not (heard := self._crew.wait(deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                hung = next(worker for worker in self._workers if worker.stage not in _OVER)
                raise self._lost(hung, started, f"it has said nothing for {patience:.0f} s")
        for worker, messages in heard:
            for message in messages:
                yield worker, message
            if worker.closed and worker.stage not in _OVER:
                how = worker.ended_how()
                heirs = [one for one in self._workers if one is not worker and one.stage == "ready"]
                if not (started and self._plan.rebalance and heirs):
                    raise self._lost(worker, started, how)
                worker.stage = "died"
                self._losses.hand_over(worker, how, heirs)

    def _lost(self, worker: Member, started: bool, how: str) -> HarnessError:
        self.stop()
        remedy = f"Read logs/{worker.name}.log in the run directory."
        if started:
            how = f"{how}: {self._losses.lost(worker.name)}"
        cause = " | ".join([f"load worker {worker.name}: {how}", *worker.last_lines()])
        return HarnessError("worker-died" if started else "worker-failed", cause, remedy)

    def _refused(self, worker: Member, failure: dict[str, Any]) -> HarnessError:
        self.stop()
        log = f"logs/{worker.name}.log"
        if failure["kind"] == "prepare":
            return HarnessError("worker-failed", f"load worker {worker.name}: {failure['error']}", f"Read {log}.")
        path = Path(self._plan.scenario)
        if failure["kind"] == "empty":
            cause = f"{path.name}: {failure['error']}"
            return UsageError(
                "scenario-empty", cause, "Derive a class with a task from harness.load.users.SloUser in it."
            )
        located = _location(path, failure["line"], failure["column"]) if failure["line"] else None
        where = f"{path.name}:{failure['line']}" if located else path.name
        return UsageError(
            "scenario-import-failed", f"{where}: {failure['error']}",
            f"Correct the scenario; the traceback is in {log}.", location=located,
        )  # fmt: skip

    def _sum(self) -> LoadTick:
        ticks = [worker.tick for worker in self._workers if worker.tick]
        newest = max(ticks, key=lambda tick: tick["elapsed"])
        late = [tick["p99_ms"] for tick in ticks if tick["p99_ms"] is not None]
        total = {name: sum(tick[name] for tick in ticks) for name in ("scheduled", "done", "errors", "in_flight")}
        return LoadTick(
            newest["phase"], newest["elapsed"], newest["remaining"], **total, p99_ms=max(late, default=None)
        )


def _location(path: Path, line: int, column: int | None) -> Location:
    lines = path.read_text(errors="replace").splitlines()
    text = lines[line - 1] if line <= len(lines) else ""
    if column:
        return Location(path, line, column, text)
    return Location(path, line, len(text) - len(text.lstrip()) + 1, text, max(1, len(text.strip())))
