"""The parent's hold on the process that watches the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.model.machine import MachineRecord, fold
from harness.results.events import read_jsonl
from harness.stack.machine import watch

PERIOD_NS = 10_000_000  # half a percent of a processor, measured
GRACE_SECONDS = 2.0


class Watcher:
    """Watches from `start`, or the begin of a block, on. out: its file, which `stop` reads and removes."""

    def __init__(self, out: Path, period_ns: int = PERIOD_NS, *, each: bool = False) -> None:
        self.record = MachineRecord(period_ns, "", "it was not started", ())
        self.lines: list[dict[str, Any]] = []
        self._out, self._period, self._each = out, period_ns, each
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        command = [sys.executable, "-I", "-S", watch.__file__, str(self._out), str(self._period), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [*command, *(["--each"] if self._each else [])], stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            self.record = MachineRecord(self._period, "", f"it could not be started: {error}", ())

    def stop(self) -> MachineRecord:
        """End it and read what it saw. A second call gives the same."""
        if self._process is None:
            return self.record
        process, self._process = self._process, None
        process.terminate()
        try:
            code = process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self.lines = list(read_jsonl(self._out)) if self._out.exists() else []
        self._out.unlink(missing_ok=True)
        ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"
        self.record = fold(self.lines, ended)
        return self.record

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
