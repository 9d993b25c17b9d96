"""Stands for one container: `python -m harness.stack.docker.follower CONTAINER`, with the engine in DOCKER_HOST.

It starts the container, writes what that says to standard output, and ends as it ends: with the same exit code, or by
the same signal. A signal to it goes to the container; SIGCONT lets a paused one go on. When it gets SIGKILL itself, its
shadow kills the container, and the next follower waits until that is done. Standard library only.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import IO, Any

from harness.core.errors import HarnessError
from harness.stack.docker.engine import Engine
from harness.stack.docker.hosts import find_host

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
HANDLED = (*PASSED_ON, signal.SIGCONT)
LOCK = "container.lock"  # in the working directory; held by the follower and its shadow
LAST_WORDS = 5.0  # seconds for the rest of the log, after the container has ended


def follow(engine: Engine, container: str, out: int) -> int:
    """Start `container` and wait for its end; returns its exit code. out: a descriptor for what it says.

    Raises HarnessError engine-lost, engine-refused (it cannot be started).
    """
    path = f"/containers/{container}"
    _end(engine, path)

    def passed_on(signum: int, _: FrameType | None) -> None:
        engine.request("POST", f"{path}/kill", query={"signal": signal.Signals(signum).name})  # an ended one says 409

    def go_on(_signum: int, _frame: FrameType | None) -> None:
        engine.request("POST", f"{path}/unpause")  # one that is not paused says 409 or 500

    for signum in PASSED_ON:
        signal.signal(signum, passed_on)
    signal.signal(signal.SIGCONT, go_on)
    streams = {"stream": True, "stdout": True, "stderr": True}
    with (
        engine.open("POST", f"{path}/wait", query={"condition": "next-exit"}) as ended,
        engine.open("POST", f"{path}/attach", query=streams) as said,
    ):
        copier = threading.Thread(target=copy_frames, args=(said, out), daemon=True)
        # inherited: of two signals at once that thread could take one, which would interrupt nothing
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        copier.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        engine.call("POST", f"{path}/start")
        told: dict[str, Any] = json.loads(ended.read())
        copier.join(LAST_WORDS)
    return int(told["StatusCode"])


def copy_frames(stream: IO[bytes] | Any, out: int) -> None:
    """What a container without a terminal says: frames of eight bytes (stream, three of nothing, length) and a text."""
    while len(head := stream.read(8)) == 8:
        left = memoryview(stream.read(int.from_bytes(head[4:], "big")))
        while left:
            left = left[os.write(out, left) :]


def _end(engine: Engine, path: str) -> None:
    """Kill the container if it runs, and wait until it does not."""
    engine.request("POST", f"{path}/kill")  # one that does not run says 409
    engine.request("POST", f"{path}/wait", query={"condition": "not-running"})


def shadow(engine: Engine, container: str) -> None:
    """Fork a process that is below nobody of the service, waits for the end of this one, and kills what still runs."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(read)  # and `write` stays open for as long as this process lives
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(write)
    os.read(read, 1)
    code = 1
    try:
        _end(engine, f"/containers/{container}")
        code = 0
    except HarnessError as error:
        os.write(2, f"{error.cause}\n".encode())
    finally:
        os._exit(code)


def end_as(code: int) -> None:
    """End this process as a container ended. Engines tell an end by signal N as 128 + N."""
    try:
        signum = signal.Signals(code - 128)
    except ValueError:
        sys.exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if signum not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    sys.exit(code)  # a signal that ends nobody


def main() -> None:
    parser = argparse.ArgumentParser(prog="follower")
    parser.add_argument("container", help="its name")
    container = parser.parse_args().container
    engine = Engine(find_host())
    lock = Path(LOCK).open("w")  # noqa: SIM115 - the shadow shares it, and lets go of it last
    fcntl.flock(lock, fcntl.LOCK_EX)
    shadow(engine, container)
    try:
        code = follow(engine, container, sys.stdout.fileno())
    except HarnessError as error:
        sys.exit(f"follower: {error.cause}")
    end_as(code)


if __name__ == "__main__":
    main()
