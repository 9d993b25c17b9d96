"""A load worker on a machine of its own: runs one worker process here, and tells the master all that it does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import tempfile
import time
import uuid
from pathlib import Path
from types import FrameType
from typing import Any

import zmq

from harness import __version__
from harness.core.clock import mono_ns
from harness.core.errors import HarnessError
from harness.load.clock_offset import ClockOffset
from harness.load.frames import CHUNK, HEARTBEAT_SECONDS, WorkerSocket
from harness.load.worker_process import WorkerProcess
from harness.results.tally import read_tally

CLOCK_TRIPS = 40
MASTER_SECONDS = 60.0  # without an answer of the master, once the work has begun
KNOCK_SECONDS = 1.0
OVER_SECONDS = 5.0  # without an answer, once the master has said that it has everything


class Agent:
    """Everything but the socket: what it was told to do, and what it has to tell. directory: for its files."""

    def __init__(self, told: dict[str, Any], project: Path, directory: Path) -> None:
        self.clock = ClockOffset()
        self.worker: WorkerProcess | None = None
        self._directory = directory
        self._samples = directory / "load.jsonl"
        self._seq = 0
        self._said: list[dict[str, Any]] = []
        self._said_from = 0  # the master has all before
        self._at = 0  # and so many bytes of the samples
        self._done = 0  # commands
        self._ended = ""
        scenario = project / told["scenario"]
        if refusal := _unlike(scenario, told):
            self._said = [{"failed": {"kind": "prepare", "error": refusal}}]
            self._ended = "it has not started"
            return
        plan = told["plan"] | {"scenario": str(scenario.resolve())}
        plan["env"] = {name: os.environ.get(name, value) for name, value in plan["env"].items()}
        if told["file"]:
            plan["file"] = str(directory / "arrivals")
            (directory / "arrivals").write_bytes(told["file"])
        (directory / "plan.json").write_text(json.dumps(plan))
        self.worker = WorkerProcess(directory / "plan.json", told["index"], self._samples, directory / "load.log")

    def listen(self) -> None:
        """Take what the worker says, when there is something."""
        if self.worker is not None and not self.worker.closed:
            self._said += self.worker.messages()
            if self.worker.closed:
                self._ended = self.worker.ended_how()

    def heed(self, answer: dict[str, Any]) -> None:
        """Take an answer of the master: what it has got, and what is to be done; nothing is done twice."""
        if answer["said"] > self._said_from:
            del self._said[: answer["said"] - self._said_from]
            self._said_from = answer["said"]
        self._at = max(self._at, answer["at"])
        for command in answer["commands"][self._done :]:
            if self.worker is not None:
                self.worker.tell(self._local(command))
        self._done = max(self._done, len(answer["commands"]))

    def snapshot(self) -> dict[str, Any]:
        """All that the master may not know yet. It hears of the end with the last of the samples, not before."""
        self._seq += 1
        samples, whole = b"", True
        if self._samples.exists():
            with self._samples.open("rb") as file:
                file.seek(self._at)
                samples = file.read(CHUNK)
                whole = not file.read(1)
        tally = read_tally(self._samples.with_suffix(".tally"))
        told = tally.as_dict() | {"exact": bool(self._ended)} if tally is not None else None
        return {
            "seq": self._seq, "said_from": self._said_from, "said": self._said, "at": self._at, "samples": samples,
            "tally": told, "log": self.worker.last_lines() if self.worker is not None else [],
            "clock": {"offset_ns": self.clock.offset_ns, "error_ns": self.clock.error_ns},
            "ended": self._ended if whole else "",
        }  # fmt: skip

    @property
    def delivered(self) -> bool:
        """Whether the worker has ended and the master has all of it."""
        size = self._samples.stat().st_size if self._samples.exists() else 0
        return bool(self._ended) and not self._said and self._at >= size

    def terminate(self) -> None:
        """End the worker, which writes what it has."""
        if self.worker is not None:
            self.worker.terminate()

    def close(self) -> None:
        if self.worker is not None:
            self.worker.reap()

    def _local(self, command: dict[str, Any]) -> dict[str, Any]:
        """Its moments by this machine's clock."""
        moments = {name: self.clock.to_local(command[name]) for name in ("start", "end_at") if name in command}
        return command | moments


class Link:
    """The agent's conversation with the master. Raises HarnessError master-lost and master-refused."""

    def __init__(self, host: str, port: int, project: Path, patience: float) -> None:
        self._project, self._patience = project, patience
        self._where = f"{host}:{port}"
        self._socket = WorkerSocket(host, port, f"{socket.gethostname()}_{uuid.uuid4().hex}")
        self._ending = False

    def run(self) -> str:
        """Work for the master until it is over; returns why it was."""
        previous = signal.signal(signal.SIGTERM, self._on_signal)
        try:
            told = self._join()
            with tempfile.TemporaryDirectory(prefix="slo-load-") as directory:
                agent = Agent(told, self._project, Path(directory))
                try:
                    self._agree(agent.clock)
                    return self._serve(agent)
                finally:
                    agent.terminate()
                    agent.close()
        finally:
            signal.signal(signal.SIGTERM, previous)
            self._socket.close()

    def _join(self) -> dict[str, Any]:
        """Knock until the master answers, and as long as patience lasts."""
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline and not self._ending:
            self._socket.send("client_ready", {"version": __version__, "host": socket.gethostname()})
            self._socket.socket.poll(round(KNOCK_SECONDS * 1000))
            for message in self._socket.receive():
                if message.type == "quit":
                    raise HarnessError("master-refused", message.data["why"], "Start what the master expects.")
                if message.type == "ack":
                    told: dict[str, Any] = message.data
                    return told
        raise self._lost(self._patience)

    def _agree(self, clock: ClockOffset) -> None:
        """Measure how far the master's clock is ahead."""
        deadline = time.monotonic() + self._patience
        while clock.trips < CLOCK_TRIPS and time.monotonic() < deadline:
            self._socket.send("clock", {"sent": mono_ns()})
            if self._socket.socket.poll(200):
                now = mono_ns()
                for message in self._socket.receive():
                    if message.type == "clock":
                        clock.add(message.data["sent"], message.data["master"], now)
        if not clock.trips:
            raise self._lost(self._patience)

    def _serve(self, agent: Agent) -> str:
        poller = zmq.Poller()
        poller.register(self._socket.socket, zmq.POLLIN)
        listening = agent.worker.output if agent.worker is not None else None
        if listening is not None:
            poller.register(listening, zmq.POLLIN)
        heard = beat = time.monotonic()
        why = ""
        while not (why and agent.delivered):
            poller.poll(max(0, round((beat - time.monotonic()) * 1000)))
            if agent.worker is not None and listening is not None:
                if any(fd == listening.fileno() for fd, _ in poller.poll(0)):
                    agent.listen()
                    beat = 0.0  # tell it at once
                if agent.worker.closed:
                    poller.unregister(listening)
                    listening = None
            for message in self._socket.receive():
                heard = time.monotonic()
                if message.type == "heartbeat":
                    agent.heed(message.data)
                elif message.type == "quit":
                    why = message.data["why"]
                    agent.terminate()
            if self._ending:
                why = "it was told to end"
                agent.terminate()
            now = time.monotonic()
            if now >= beat:
                self._socket.send("heartbeat", agent.snapshot())
                beat = now + HEARTBEAT_SECONDS
            if agent.delivered and now - heard > OVER_SECONDS:
                return "the master has all of it, and is gone"  # whether or not its last word has come
            if now - heard > (KNOCK_SECONDS if why else MASTER_SECONDS):
                if why:
                    return why
                raise self._lost(MASTER_SECONDS)
        self._socket.send("heartbeat", agent.snapshot())
        return why

    def _lost(self, seconds: float) -> HarnessError:
        cause = f"nothing has been heard of the master at {self._where} for {seconds:.0f} s"
        return HarnessError("master-lost", cause, "See whether it runs and can be reached from here.")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._ending = True


def _unlike(scenario: Path, told: dict[str, Any]) -> str:
    """Why this machine cannot run the master's scenario, or nothing."""
    if not scenario.is_file():
        return f"{scenario} does not exist there"
    if hashlib.sha256(scenario.read_bytes()).hexdigest() != told["sha256"]:
        return f"{scenario} there is not the master's"
    return ""
