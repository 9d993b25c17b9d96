"""The bounded file of lines in which a sink keeps what it was sent, and taking those of one run out of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson


class LineFile:
    """A file of lines that never grows past `limit` bytes. What append returned as written, any reader sees."""

    def __init__(self, path: Path, limit: int) -> None:
        """Raises OSError. Lines that are there already stay, and count."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._limit = limit
        self.size = os.fstat(self._fd).st_size

    def append(self, lines: Sequence[bytes]) -> tuple[int, str]:
        """(how many lines were written, why not the others)."""
        fit, size = 0, self.size
        while fit < len(lines) and size + len(lines[fit]) <= self._limit:
            size += len(lines[fit])
            fit += 1
        why = f"the file is at its limit of {self._limit} bytes" if fit < len(lines) else ""
        left = memoryview(b"".join(lines[:fit]))
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            os.ftruncate(self._fd, self.size)  # no torn line for the reader
            return 0, str(error)
        self.size = size
        return fit, why

    def close(self) -> None:
        os.close(self._fd)


def copy_lines(source: Path, destination: Path, field: str, start_ns: int, end_ns: int) -> int:
    """Copy the lines whose `field` is in [start_ns, end_ns] as they stand; returns how many.

    A line that a killed sink tore, or that is still being written, is left out. A missing source is an empty one: a
    sink makes its file when it starts. Raises OSError when the destination cannot be written.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    copied = 0
    with destination.open("wb") as kept:
        try:
            lines = source.open("rb")
        except FileNotFoundError:
            return 0
        with lines:
            for line in lines:
                if line.endswith(b"\n") and start_ns <= _number(line, field) <= end_ns:
                    kept.write(line)
                    copied += 1
    return copied


def _number(line: bytes, field: str) -> int:
    """The field's value; -1 where the line is torn."""
    try:
        return int(orjson.loads(line)[field])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return -1
