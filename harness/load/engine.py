"""The parent's side of load: starts the workers, gives them one origin, adds up their ticks. No Locust in here."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from harness.core.clock import mono_ns
from harness.core.errors import HarnessError, Location, UsageError
from harness.model.events import LoadTick
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir

LEAD_NS = 200_000_000  # from telling the workers to the first arrival
START_TIMEOUT = 60.0


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self.process = process
        self.name = name
        self.tick: dict[str, Any] = {}
        self.seconds = 0
        self.ended = False
        self.buffer = b""

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout


class LoadEngine:
    """One run's load. prepare, start, ticks, stop; stop may be called at any time and any number of times."""

    def __init__(self, plan: LoadPlan, run: RunDir) -> None:
        self._plan = plan
        self._run = run
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def prepare(self) -> None:
        """Start the workers and wait until their users stand ready.

        Raises UsageError scenario-import-failed, scenario-empty; HarnessError worker-failed.
        """
        self._run.write("load-plan.json", self._plan.as_dict())
        for index in range(self._plan.workers):
            name = f"load-{index}"
            with (self._run.logs / f"{name}.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "harness.load.worker", str(self._run.path / "load-plan.json"), str(index),
                     str(self._run.load / f"{name}.jsonl")],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
                )  # fmt: skip
            worker = _Worker(process, name)
            self._workers.append(worker)
            self._selector.register(worker.output, selectors.EVENT_READ, worker)
        waiting, deadline = set(self._workers), time.monotonic() + START_TIMEOUT
        while waiting:
            for worker, message in self._messages(deadline):
                if "failed" in message:
                    self.stop()
                    raise self._refused(message["failed"])
                if "ready" in message:
                    waiting.discard(worker)

    def start(self) -> int:
        """Tell all workers the origin of the timetable; returns it (CLOCK_MONOTONIC ns, a little ahead)."""
        origin = mono_ns() + LEAD_NS
        for worker in self._workers:
            assert worker.process.stdin is not None
            worker.process.stdin.write(json.dumps({"start": origin}).encode() + b"\n")
            worker.process.stdin.flush()
        return origin

    def ticks(self) -> Iterator[LoadTick]:
        """One LoadTick a second, summed over workers, until all have ended. Raises HarnessError worker-died."""
        plan = self._plan
        longest = (plan.warmup_ns + plan.duration_ns + plan.timeout_ns) / 1e9 + 30
        deadline, told = time.monotonic() + longest, 0
        while not all(worker.ended for worker in self._workers):
            for worker, message in self._messages(deadline):
                if "tick" in message:
                    worker.tick, worker.seconds = message["tick"], worker.seconds + 1
                elif "end" in message:
                    worker.ended = True
            slowest = min(
                (w.seconds for w in self._workers if not w.ended), default=max(w.seconds for w in self._workers)
            )
            if slowest > told:
                told = slowest
                yield self._sum()

    def stop(self) -> None:
        """End all workers: SIGTERM, then SIGKILL."""
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        for worker in self._workers:
            try:
                worker.process.wait(3)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            for stream in (worker.process.stdin, worker.process.stdout):
                if stream is not None:
                    stream.close()
        self._selector.close()
        self._workers.clear()
        self._selector = selectors.DefaultSelector()

    def _messages(self, deadline: float) -> Iterator[tuple[_Worker, dict[str, Any]]]:
        ready = self._selector.select(timeout=1.0)
        if not ready and time.monotonic() > deadline:
            raise self._died(next(worker for worker in self._workers if not worker.ended), "it does not answer")
        for key, _ in ready:
            worker: _Worker = key.data
            chunk = worker.output.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                self._selector.unregister(worker.output)
                if not worker.ended:
                    raise self._died(worker, f"it ended with {worker.process.wait()}")
                continue
            *lines, worker.buffer = (worker.buffer + chunk).split(b"\n")
            for line in lines:
                yield worker, json.loads(line)

    def _died(self, worker: _Worker, how: str) -> HarnessError:
        log = self._run.logs / f"{worker.name}.log"
        last = log.read_text(errors="replace").strip().splitlines()[-5:] if log.exists() else []
        self.stop()
        return HarnessError(
            "worker-died", " | ".join([f"load worker {worker.name}: {how}", *last]), f"Read logs/{worker.name}.log."
        )

    def _refused(self, failure: dict[str, Any]) -> HarnessError:
        path = Path(self._plan.scenario)
        if failure["kind"] == "empty":
            return UsageError(
                "scenario-empty", f"{path} defines no user", "Derive a class from harness.load.users.SloUser in it."
            )
        location, where = None, str(path)
        if failure["line"]:
            text = path.read_text().splitlines()[failure["line"] - 1]
            indent = len(text) - len(text.lstrip())
            location = Location(path, failure["line"], indent + 1, text, max(1, len(text.strip())))
            where = f"{path.name}:{failure['line']}"
        return UsageError(
            "scenario-import-failed", f"{where}: {failure['error']}",
            "Correct the scenario; the traceback is in logs/load-0.log.", location=location,
        )  # fmt: skip

    def _sum(self) -> LoadTick:
        ticks = [worker.tick for worker in self._workers if worker.tick]
        late = [tick["p99_ms"] for tick in ticks if tick["p99_ms"] is not None]
        total = {name: sum(tick[name] for tick in ticks) for name in ("scheduled", "done", "errors", "in_flight")}
        return LoadTick(
            ticks[-1]["phase"], ticks[-1]["elapsed"], ticks[-1]["remaining"], **total, p99_ms=max(late, default=None)
        )
