"""The master's side of workers on other machines: a crew that the engine holds as it holds processes of its own."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.core.clock import mono_ns
from harness.core.errors import HarnessError
from harness.load.crew import Member, paths
from harness.load.frames import HEARTBEAT_SECONDS, MasterSocket, Message
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.tally import write_tally

DEAD_SECONDS = 5.0  # without a heartbeat
CLOSE_SECONDS = 5.0  # to hand over what is left at the end
CLOCKS_EVIDENCE = "evidence/remote-workers.json"


class RemoteWorker:
    """What the master knows of one worker. `hear` takes its heartbeats, in any order and any number of times."""

    pid = 0

    def __init__(self, index: int, identity: bytes, host: str, run: RunDir, socket: MasterSocket) -> None:
        self.name, self.host, self.identity = f"load-{index}", host, identity
        self.tick: dict[str, Any] = {}
        self.seconds = 0
        self.length_ns = 0
        self.stage = "started"
        self.closed = False
        self.heard = time.monotonic()
        self.clock: dict[str, Any] = {}
        self._how = ""
        self._log: list[str] = []
        self._newest = -1
        self._said = 0
        self._have = 0
        self._commands: list[dict[str, Any]] = []
        self._samples = paths(run, index)[1]
        self._socket = socket
        self._samples.touch()

    def hear(self, told: dict[str, Any]) -> list[dict[str, Any]]:
        """Take in one snapshot; returns what the worker has said that is new."""
        if told["seq"] <= self._newest or self.closed:
            return []
        self._newest = told["seq"]
        self.clock, self._log = told["clock"], told["log"]
        new = told["samples"][self._have - told["at"] :] if told["at"] <= self._have else b""
        if new:
            with self._samples.open("ab") as file:
                file.write(new)
            self._have += len(new)
        if told["tally"] is not None:
            write_tally(self._samples.with_suffix(".tally"), told["tally"])
        said: list[dict[str, Any]] = told["said"][max(0, self._said - told["said_from"]) :]
        self._said += len(said)
        if told["ended"]:
            self.closed, self._how = True, told["ended"]
        return said

    def answer(self) -> None:
        """Confirm what has come, and say again all that it is to do."""
        self._socket.send(
            self.identity, "heartbeat", {"said": self._said, "at": self._have, "commands": self._commands}
        )

    def tell(self, message: dict[str, Any]) -> None:
        self._commands.append(message)
        self.answer()

    def lose(self) -> None:
        """It has not been heard for too long."""
        self.closed, self._how = True, f"nothing has been heard of it for {DEAD_SECONDS:.0f} s"

    def ended_how(self) -> str:
        return f"{self._how} (on {self.host})"

    def last_lines(self) -> list[str]:
        return self._log

    def terminate(self) -> None:
        self._socket.send(self.identity, "quit", {"why": "the run is over"})

    def reap(self) -> None:
        """The crew waits for all of them when it closes."""


class RemoteCrew:
    """Listens from the beginning; `start` waits until so many workers as the plan has have come.

    Raises HarnessError master-port when it cannot listen.
    """

    def __init__(self, run: RunDir, host: str, port: int, patience: float) -> None:
        self._run, self._patience = run, patience
        self._workers: dict[bytes, RemoteWorker] = {}
        self._plan: LoadPlan | None = None
        self._looked = time.monotonic()
        try:
            self._socket: MasterSocket | None = MasterSocket(host, port)
        except OSError as error:
            raise HarnessError("master-port", str(error), "Name an address of this machine and a free port.") from error
        self.address = self._socket.address

    def start(self, plan: LoadPlan) -> Sequence[Member]:
        """Raises HarnessError workers-missing when too few have come in time."""
        self._plan = plan
        deadline = time.monotonic() + self._patience
        while len(self._workers) < plan.workers and (left := deadline - time.monotonic()) > 0:
            self._take(left)
        if len(self._workers) < plan.workers:
            there = ", ".join(sorted(worker.host for worker in self._workers.values())) or "nobody"
            raise HarnessError(
                "workers-missing",
                f"{len(self._workers)} of {plan.workers} load workers have come within {self._patience:.0f} s: {there}",
                f"Start `harness load --worker` on the others, with this machine as --master-host ({self.address}).",
            )
        return list(self._workers.values())

    def wait(self, seconds: float) -> list[tuple[Member, list[dict[str, Any]]]]:
        deadline = time.monotonic() + seconds
        while not (heard := self._take(min(HEARTBEAT_SECONDS, max(0.0, deadline - time.monotonic())))):
            if time.monotonic() >= deadline:
                break
        return heard

    def close(self) -> None:
        """Wait a little for what is still to come, then let go."""
        if self._socket is None:
            return
        deadline = time.monotonic() + CLOSE_SECONDS
        while not all(worker.closed for worker in self._workers.values()) and time.monotonic() < deadline:
            self._take(HEARTBEAT_SECONDS)
            for worker in self._workers.values():
                if not worker.closed:
                    worker.terminate()  # what it was told before may have got lost
        clocks = {worker.name: {"host": worker.host, **worker.clock} for worker in self._workers.values()}
        self._run.write(CLOCKS_EVIDENCE, clocks)
        for worker in self._workers.values():
            worker.terminate()
        self._socket.close()
        self._socket = None

    def _take(self, seconds: float) -> list[tuple[Member, list[dict[str, Any]]]]:
        """Take in what has come; returns what workers said, and those that have closed just now."""
        assert self._socket is not None
        heard: list[tuple[Member, list[dict[str, Any]]]] = []
        if (
            time.monotonic() - self._looked > DEAD_SECONDS / 2
        ):  # nobody was listening to them: that is not their silence
            for worker in self._workers.values():
                worker.heard = time.monotonic()
        for identity, message in self._socket.receive(seconds):
            known = self._workers.get(identity)
            if known is not None:
                known.heard = time.monotonic()
            if message.type == "client_ready":
                self._welcome(identity, message)
            elif known is None:
                self._socket.send(identity, "quit", {"why": "this master does not know it"})
            elif message.type == "clock":
                self._socket.send(identity, "clock", {"sent": message.data["sent"], "master": mono_ns()})
            elif message.type == "heartbeat":
                open_before = not known.closed
                said = known.hear(message.data)
                known.answer()
                if said or (open_before and known.closed):
                    heard.append((known, said))
        for worker in self._workers.values():
            if not worker.closed and time.monotonic() - worker.heard > DEAD_SECONDS:
                worker.lose()
                heard.append((worker, []))
        self._looked = time.monotonic()
        return heard

    def _welcome(self, identity: bytes, message: Message) -> None:
        assert self._socket is not None and self._plan is not None
        told = message.data if isinstance(message.data, dict) else {}
        known = self._workers.get(identity)
        if known is None:
            why = ""
            if told.get("version") != __version__:
                why = f"the master is slo-harness {__version__}, this is {told.get('version', 'another program')}"
            elif len(self._workers) >= self._plan.workers:
                why = f"{self._plan.workers} load workers have come already"
            if why:
                self._socket.send(identity, "quit", {"why": why})
                return
            index = len(self._workers)
            known = self._workers[identity] = RemoteWorker(index, identity, told["host"], self._run, self._socket)
        self._socket.send(identity, "ack", {"index": int(known.name.removeprefix("load-")), **described(self._plan)})


def described(plan: LoadPlan) -> dict[str, Any]:
    """The plan as another machine needs it: the scenario by its name and content, the replayed file as bytes."""
    scenario = Path(plan.scenario).resolve()
    return {
        "plan": plan.as_dict(),
        "scenario": str(scenario.relative_to(scenario.parent.parent)),
        "sha256": hashlib.sha256(scenario.read_bytes()).hexdigest(),
        "file": Path(plan.file).read_bytes() if plan.file else b"",
    }
