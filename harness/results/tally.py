"""What a load worker has counted up to this very moment, in a file that is mapped into its memory: a SIGKILL, which
loses the records of the last second, does not lose it. <run>/load/<worker>.tally beside <worker>.jsonl.

64-bit integers, little endian: whether this is all there was to count, arrivals dispatched, the last one's offset from
the origin in ns or -1; then for each request name 128 bytes: how many were sent, and the name, filled up with zeros.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXACT, ARRIVALS, OFFSET, HEAD = range(4)
NAMES, ROW, NAME = 1000, 16, 120  # rows; integers in a row; bytes of a name
SIZE = 8 * (HEAD + NAMES * ROW)


@dataclass(frozen=True, slots=True)
class Tally:
    """exact: False when its worker may have gone on after this was told. offset_ns: of the last arrival dispatched;
    sent: requests by name."""

    exact: bool
    arrivals: int
    offset_ns: int
    sent: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"exact": self.exact, "arrivals": self.arrivals, "offset_ns": self.offset_ns, "sent": self.sent}


class TallyFile:
    """The worker's side: its cells are written in place, once for each arrival and each request."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(fd, SIZE)
            self._map = mmap.mmap(fd, SIZE)
        finally:
            os.close(fd)
        self._cells = memoryview(self._map).cast("q")
        self._cells[EXACT], self._cells[OFFSET] = 1, -1
        self._rows: list[memoryview[int]] = []

    def row(self, name: str) -> memoryview[int]:
        """The counter of one more request name: its item 0. Raises ValueError when there are more than NAMES."""
        if len(self._rows) == NAMES:
            raise ValueError(f"more than {NAMES} request names")
        begin = HEAD + len(self._rows) * ROW
        shown = name.encode()[:NAME]
        self._map[8 * (begin + 1) : 8 * (begin + 1) + len(shown)] = shown
        self._rows.append(self._cells[begin : begin + 1])
        return self._rows[-1]

    def dispatched(self, offset_ns: int) -> None:
        """One more arrival has left the timetable; it was due at this offset from the origin."""
        self._cells[ARRIVALS] += 1
        self._cells[OFFSET] = offset_ns

    @property
    def sent(self) -> int:
        return sum(row[0] for row in self._rows)


def read_tally(path: Path) -> Tally | None:
    """What the file says, or None if there is none, or none that is whole."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < 8 * HEAD or (len(content) - 8 * HEAD) % (8 * ROW):
        return None
    exact, arrivals, offset = struct.unpack_from(f"<{HEAD}q", content)
    sent: dict[str, int] = {}
    for count, name in struct.iter_unpack(f"<q{NAME}s", content[8 * HEAD :]):
        if named := name.rstrip(b"\0").decode(errors="replace"):
            sent[named] = sent.get(named, 0) + count
    return Tally(bool(exact), arrivals, offset, sent)


def write_tally(path: Path, told: Mapping[str, Any]) -> None:
    """Keep what a worker on another machine told: a Tally's as_dict."""
    head = struct.pack(f"<{HEAD}q", told["exact"], told["arrivals"], told["offset_ns"])
    rows = (struct.pack(f"<q{NAME}s", count, name.encode()[:NAME]) for name, count in told["sent"].items())
    (whole := path.with_suffix(".tally.new")).write_bytes(head + b"".join(rows))
    whole.replace(path)
