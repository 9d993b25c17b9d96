"""A sink as a process, as the tests of the sinks run it."""

from __future__ import annotations

import http.client
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.results.events import read_jsonl


@dataclass
class Running:
    host: str
    port: int
    out: Path
    process: subprocess.Popen[str]

    def ask(self, method: str, path: str, body: bytes = b"", headers: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def stats(self) -> dict[str, int]:
        return dict(json.loads(self.ask("GET", "/stats")[1]))

    def lines(self) -> list[dict[str, Any]]:
        return list(read_jsonl(self.out))


@contextmanager
def running(module: str, out: Path, arguments: Sequence[str] = (), file_size: int = -1) -> Iterator[Running]:
    """`python -m harness.telemetry.<module>` on a free port. file_size: where the system stops its file, in bytes."""
    command = [sys.executable, "-m", f"harness.telemetry.{module}", "--listen", "127.0.0.1:0", "--out", str(out)]
    limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (file_size, file_size))
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True, preexec_fn=limited) as process:
        try:
            assert process.stdout is not None
            host, port = process.stdout.readline().split()[-1].split(":")
            yield Running(host, int(port), out, process)
        finally:
            process.terminate()
            process.wait(10)
