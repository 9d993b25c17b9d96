"""The guardian of a stack's containers: a process that outlives whoever started it, and removes by label what the stack
has on the engine when its supervisor is gone. Containers hang on the engine and not on us: without it, a killed harness
would leave them running. Standard library only.

    python -S -m harness.stack.docker.guardian STACK_ID SUPERVISOR_PID
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import harness
from harness.core.errors import HarnessError
from harness.stack.docker.engine import Engine
from harness.stack.docker.hosts import find_host
from harness.stack.docker.removal import remove_stack

READY = b"ready\n"
SETTLE = 1.5  # seconds in which a request that a killed harness had sent may still be worked off
START = 20.0  # seconds for it to start
_PASSED = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS", "DOCKER_TLS_VERIFY",
           "DOCKER_CERT_PATH")  # fmt: skip


class Guardian:
    """One that this process started. To be started before the first thing is made on the engine."""

    def __init__(self, stack_id: str, supervisor_pid: int, python: str) -> None:
        """Returns when it watches. supervisor_pid: as this process sees it. Raises HarnessError guardian-failed."""
        argv = [python, "-S", "-m", "harness.stack.docker.guardian", stack_id, str(supervisor_pid)]
        env = {name: os.environ[name] for name in _PASSED if name in os.environ}
        env["PYTHONPATH"] = str(Path(harness.__file__).resolve().parent.parent)
        self._process = subprocess.Popen(
            argv,
            env=env | {"PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            is_there = select.select([pipe], [], [], START)[0]
            said = pipe.readline() if is_there else b""
            if said != READY:
                self._process.kill()
                self._process.wait()
                said += pipe.read()
                told = said.decode(errors="replace").strip() or "it was silent"
                raise HarnessError(
                    "guardian-failed",
                    f"the guardian of the containers did not start: {told}",
                    "Without it a killed run would leave containers; see what it said.",
                )

    def close(self) -> None:
        """Wait until the guardian has done its work: to be called when the supervisor has ended. May be called again.
        Raises HarnessError stack-lingers."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.write(b"\n")
                self._process.stdin.close()
            except BrokenPipeError:  # it was killed
                self._process.stdin = None
        try:
            code = self._process.wait(60)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise HarnessError(
                "stack-lingers",
                f"the guardian of the containers ended with {code}" if code is not None else "the engine is slow",
                "docker ps -a --filter label=slo-harness.stack shows what is left; the next start removes it.",
            )


def main(stack_id: str, supervisor_pid: int) -> int:
    """Watch, then remove. A supervisor that is gone already means that there is nothing to wait for."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    watched = select.poll()
    try:
        watched.register(os.pidfd_open(supervisor_pid), select.POLLIN)
    except ProcessLookupError:
        supervisor_pid = 0
    engine = Engine(find_host())
    os.write(1, READY)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    if supervisor_pid:
        watched.poll()
    remove_stack(engine, stack_id, settle=SETTLE, enough=_is_seen_through)
    return 0


def _is_seen_through() -> bool:
    """Whether the harness is there and says that it has asked for nothing more: a line on standard input."""
    return bool(select.select([0], [], [], 0)[0] and os.read(0, 1))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2])))
    except HarnessError as error:
        sys.exit(error.render())  # to standard error
