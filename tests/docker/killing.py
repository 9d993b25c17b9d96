"""A pytest that runs a validation on containers, killed at a moment of its life; and what then is on the engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.stack.docker.engine import Engine
from tests.integration.helpers import ROOT, write_validation

STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: killed}
spec:
  timeScale: 15
  services:
    postgres: {use: postgres, disk: 128MB}
    redis: {use: redis}
    prometheus: {use: prometheus}
    notifications: {use: webhook-sink}
  links: {client->redis: {to: redis.resp}}
  scrape: {prometheus: prometheus.http}
  target: prometheus.http
"""
PATIENCE = 240.0
OF_THE_ENGINE = {"bridge", "host", "none"}  # networks that each has


def things(engine: Engine) -> list[str]:
    """All containers, networks and volumes of an engine, whoever made them, but for the networks that each has."""
    containers = [f"container {one['Names']}" for one in engine.containers([])]
    networks = [f"network {one['Name']}" for one in engine.networks([]) if one["Name"] not in OF_THE_ENGINE]
    return [*containers, *networks, *(f"volume {one['Name']}" for one in engine.volumes([]))]


def write(directory: Path, duration: str = "60s") -> Path:
    """A stack of stores and a watcher, and a validation on it; returns the latter's path."""
    directory.mkdir(exist_ok=True)
    (directory / "stack.yaml").write_text(STACK)
    return write_validation(
        directory,
        stack=directory / "stack.yaml",
        scenario=ROOT / "tests/integration/ready_scenario.py",
        thresholds='{"errors{name:ready}": ["rate<3%"]}',
        duration=duration,
        needs="[redis, postgres]",
    )


class Run:
    """A running pytest. lines: what it has written so far."""

    def __init__(self, validation: Path) -> None:
        options = ["--slo-runtime", "docker", "--slo-no-reuse", "-p", "no:cacheprovider", "-p", "no:randomly"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-m", "slo", *options, "--rootdir", str(validation.parent), validation],
            cwd=validation.parent,
            env={**os.environ, "XDG_STATE_HOME": str(validation.parent / "state"), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def wait_for(self, moment: Callable[[], bool]) -> None:
        """Until `moment` is there. Raises AssertionError with what pytest said when it ends before."""
        until = time.monotonic() + PATIENCE
        while not moment():
            assert self.process.poll() is None and time.monotonic() < until, "".join(self.lines)
            time.sleep(0.02)

    def said(self, word: str) -> Callable[[], bool]:
        """Whether a line begins with `word`."""
        return lambda: any(line.strip().startswith(word) for line in list(self.lines))

    def kill(self, signum: signal.Signals) -> float:
        """Send pytest a signal; returns when, in monotonic seconds."""
        self.process.send_signal(signum)
        return time.monotonic()

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code


@contextmanager
def running(validation: Path) -> Iterator[Run]:
    """A Run that has ended when the block has."""
    run = Run(validation)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.end()


def clean_after(engine: Engine, since: float, seconds: float, mine: Callable[[], list[str]] | None = None) -> float:
    """Wait until nothing is left on the engine; returns seconds from `since` on. Raises AssertionError with what is
    left when `seconds` are over."""
    look = mine if mine is not None else lambda: things(engine)
    while left := look():
        assert time.monotonic() - since < seconds, left
        time.sleep(0.05)
    return time.monotonic() - since
