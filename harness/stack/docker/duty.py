"""Lets a container run for a share of each period: `python -m harness.stack.docker.duty CONTAINER SHARE PERIOD REPORT`.

The engine pauses it and lets it go on, with the engine in DOCKER_HOST; REPORT is a file that tells how that went. What
counts as stopped is from the end of one request to the begin of the next, a little less than it was; each pause is as
long as it takes to have the share right over all. SIGTERM ends it, and the container goes on. Standard library only.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from harness.stack.docker.engine import Engine
from harness.stack.docker.hosts import find_host

TELL = 0.1  # seconds between two reports


class Duty:
    """One container's beat. share: of the time that it may run, 0 to 1; period: seconds."""

    def __init__(self, engine: Engine, container: str, share: float, period: float) -> None:
        self._engine, self._path = engine, f"/containers/{container}"
        self._share, self._period = share, period
        self.ending = threading.Event()
        self.periods, self.seconds, self.stopped = 0, 0.0, 0.0  # whole periods, their seconds, and what of those
        self.began = time.monotonic()

    def run(self, report: Path) -> None:
        """Until the end is asked for. Raises HarnessError engine-lost, engine-refused (the container does not run)."""
        told = 0.0
        self.began = time.monotonic()
        while not self.ending.wait(self._share * self._period):
            self._pause()
            self.periods += 1
            if time.monotonic() - told >= TELL:
                told = time.monotonic()
                self._tell(report)

    def _pause(self) -> None:
        self._engine.call("POST", f"{self._path}/pause")
        since = time.monotonic()
        try:
            # what is due once it has run for its share of the next period too
            due = (1 - self._share) / self._share * (since - self.began - self.stopped) - self.stopped
            self.ending.wait(max(0.0, due))
        finally:
            now = time.monotonic()
            self.seconds, self.stopped = now - self.began, self.stopped + now - since
            self._engine.request("POST", f"{self._path}/unpause")  # one that was killed meanwhile says 409

    def _tell(self, report: Path) -> None:
        told: dict[str, Any] = {
            "periods": self.periods,
            "seconds": self.seconds,
            "seconds_stopped": self.stopped,
        }
        new = report.with_name(f"{report.name}.new")
        new.write_text(json.dumps(told))
        new.replace(report)


def main() -> int:
    container, share, period, report = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    duty = Duty(Engine(find_host()), container, share, period)
    signal.signal(signal.SIGTERM, lambda *_: duty.ending.set())
    duty.run(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
