"""The parent's hold on one load worker: its process, its messages, and how it is ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

GRACE_SECONDS = 3.0
LAST_LINES = 5


class WorkerProcess:
    """Started at once. `messages` is to be called when `output` is readable; `closed` then tells of its end."""

    def __init__(self, plan: Path, index: int, out: Path, log: Path) -> None:
        self.name = f"load-{index}"
        self.log = log
        self.tick: dict[str, Any] = {}
        self.seconds = 0
        self.length_ns = 0  # of its timetable as it was, once it has ended
        self.stage = "started"  # imported, ready, ended, died
        self.closed = False
        self._rest = b""
        command = [sys.executable, "-m", "harness.load.worker", str(plan), str(index), str(out)]
        if threading.current_thread() is threading.main_thread():
            command.append("--die-with-parent")  # the signal follows the thread that started it, not the process
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self.output = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, message: dict[str, Any]) -> None:
        """Send one command. A worker that has died meanwhile is noticed by its closed output."""
        try:
            self._input.write(json.dumps(message).encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            pass

    def messages(self) -> list[dict[str, Any]]:
        """What it has said since the last call."""
        chunk = self.output.read1(65536)  # type: ignore[attr-defined]
        if not chunk:
            self.closed = True
            return []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def ended_how(self) -> str:
        """How a worker whose output has closed came to its end."""
        try:
            code = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"

    def last_lines(self) -> list[str]:
        """The end of its log."""
        return self.log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:] if self.log.exists() else []

    def terminate(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def reap(self) -> None:
        """Wait a little for it to end, then kill it."""
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._input.close()
        self.output.close()
