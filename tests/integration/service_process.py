"""Processes of the reference service as the tests start, ask and end them, and the stores that they work on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.stack.runtime import Stack, up
from tests.integration.helpers import ROOT

DEADLINE = 60.0  # seconds after which a test that waits gives up
STORES = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: stores}
spec:
  services:
    postgres: {use: postgres}
    redis: {use: redis}
  target: redis.resp
"""


class Service:
    """One process. `log` is its file of JSON lines."""

    def __init__(self, module: str, log: Path, health: str, env: dict[str, str]) -> None:
        """Starts `python -m module`, healthy at `health` when it returns; `env` is added to the environment's."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url, self.log = f"http://{address}", log
        given = {"APP_LISTEN": address, "APP_LOG_FILE": str(log), **env}
        command = [sys.executable, "-m", module]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **given}, stderr=subprocess.PIPE, text=True
        )
        try:
            until(lambda: self._healthy(health))
        except BaseException:
            self.kill()
            raise

    def _healthy(self, path: str) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        try:
            return self.get(path)[0] == 200
        except OSError:
            return False  # nothing listens yet

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        return fetch(urllib.request.Request(self.url + path, headers=headers))

    def post(self, path: str, content: object, **headers: str) -> tuple[int, Any]:
        body, headers = json.dumps(content).encode(), {"content-type": "application/json", **headers}
        status, text = fetch(urllib.request.Request(self.url + path, body, headers))
        return status, json.loads(text)

    def value(self, series: str, path: str = "/actuator/prometheus") -> float:
        """Of one series, written as in the text format."""
        (found,) = re.findall(rf"^{re.escape(series)} (\S+)$", self.get(path)[1], re.MULTILINE)
        return float(found)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self) -> tuple[int, str]:
        """Exit code after SIGTERM, and what it wrote to its standard error."""
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate(timeout=10)[1]
        return self.process.returncode, said

    def kill(self) -> None:
        """Whatever state it is in."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Its port takes connections, and nothing else happens."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


def fetch(request: urllib.request.Request) -> tuple[int, str]:
    """Status and body, whatever the status."""
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(condition: Callable[[], object]) -> None:
    """Wait for what cannot be waited for otherwise: something that another process does."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def store_environment(stack: Stack, **more: str) -> dict[str, str]:
    """Where the stack's stores are, without a proxy between."""
    return {
        "APP_POSTGRES": f"postgresql://postgres@{stack.address('postgres.sql')}/postgres",
        "APP_REDIS": f"redis://{stack.address('redis.resp')}/0",
        **more,
    }


@contextmanager
def stores(directory: Path) -> Iterator[Stack]:
    """PostgreSQL and Redis."""
    path = directory / "stack.yaml"
    path.write_text(STORES)
    with up(path, lease=True, emit=lambda _event: None, allow_reuse=False) as stack:
        yield stack


def run_module(module: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a job to its end; of this process's APP_ variables it sees none."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
    command = [sys.executable, "-m", module]
    return subprocess.run(
        command, cwd=ROOT, env={**clean, **env}, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
