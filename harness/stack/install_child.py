"""A program that the installer waits for: what it says comes line by line, and it never outlives the installer."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_GRACE_S = 5.0
_PATIENCE_S = 1.0


def run_child(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], hear: Callable[[str | None], None]
) -> tuple[int, str]:
    """Run a program to its end; its exit code and standard output.

    hear: gets each line of its standard error, and None when a second has gone by without one.
    Whatever ends the wait (Ctrl-C, an exception of `hear`) ends the program and its children first.
    Raises OSError when it cannot be started.
    """
    with tempfile.TemporaryFile() as output, _group(command, cwd, env, output) as process:
        assert process.stderr is not None
        for line in _lines(process.stderr):
            hear(line)
        code = process.wait()
        output.seek(0)
        return code, output.read().decode(errors="replace")


@contextmanager
def _group(
    command: Sequence[str | Path], cwd: Path, env: Mapping[str, str], output: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process group of its own, gone at the end of the block. If this process is killed, the program ends at the
    next line that it writes: nobody reads the pipe any more."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the group. Its number is its own until its leader has been waited for, which happens after this."""
    if process.returncode is not None or process.stderr is None:
        return
    try:
        os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + _GRACE_S
        poll = select.poll()
        poll.register(process.stderr, select.POLLIN)
        while (left := until - time.monotonic()) > 0 and poll.poll(left * 1000):
            if not os.read(process.stderr.fileno(), 1 << 16):  # the last of the group has closed it
                break
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def _lines(pipe: IO[bytes]) -> Iterator[str | None]:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    rest = b""
    while True:
        if not poll.poll(_PATIENCE_S * 1000):
            yield None
        elif chunk := os.read(pipe.fileno(), 1 << 16):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
        else:
            break
    if rest:
        yield rest.decode(errors="replace")


class Every:
    """Says when it is time for the next line of progress: at most one in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started = self._last = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True

    @property
    def so_far(self) -> str:
        """The time since it was made, such as `2 min 40 s`."""
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
