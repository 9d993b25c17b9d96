"""What a load worker has counted up to this very moment, in a file that is mapped into its memory: a SIGKILL, which
loses the records of the last second, does not lose it. <run>/load/<worker>.tally beside <worker>.jsonl.

64-bit integers, little endian: whether this is all there was to count; arrivals dispatched; the latest due of them, its
offset from the origin in ns or -1; how many claims on others' arrivals were taken over; while those of the last ones
that were past due are caught up with, how far that is, or -1; arrivals that a user took; then for each request name 128
bytes: how many were sent, and the name, filled up with zeros.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

EXACT, ARRIVALS, OFFSET, TAKEN, BEHIND, STARTED, HEAD = range(7)
NAMES, ROW, NAME = 1000, 16, 120  # rows; integers in a row; bytes of a name
SIZE = 8 * (HEAD + NAMES * ROW)


@dataclass(frozen=True, slots=True)
class Tally:
    """exact: False when its worker may have gone on after this was told. offset_ns: of the latest due arrival that was
    dispatched; taken: claims taken over; behind_ns: as far as the last of them have been caught up with, or -1 when
    they have; started: arrivals that a user took; sent: requests by name."""

    exact: bool
    arrivals: int
    offset_ns: int
    taken: int = 0
    behind_ns: int = -1
    started: int = 0
    sent: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


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
        self._cells[EXACT], self._cells[OFFSET], self._cells[BEHIND] = 1, -1, -1
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
        if offset_ns >= self._cells[OFFSET]:
            self._cells[OFFSET] = offset_ns
            self._cells[BEHIND] = -1
        else:
            self._cells[BEHIND] = offset_ns

    def started(self) -> None:
        """A user has taken an arrival."""
        self._cells[STARTED] += 1

    def taken(self, claims: int, after_ns: int) -> None:
        """So many claims have been taken over, on what is due after that offset."""
        if after_ns < self._cells[OFFSET]:
            self._cells[BEHIND] = after_ns
        self._cells[TAKEN] += claims

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
    exact, arrivals, offset, taken, behind, started = struct.unpack_from(f"<{HEAD}q", content)
    sent: dict[str, int] = {}
    for count, name in struct.iter_unpack(f"<q{NAME}s", content[8 * HEAD :]):
        if named := name.rstrip(b"\0").decode(errors="replace"):
            sent[named] = sent.get(named, 0) + count
    return Tally(bool(exact), arrivals, offset, taken, behind, started, sent)


def write_tally(path: Path, told: Mapping[str, Any]) -> None:
    """Keep what a worker on another machine told: a Tally's as_dict."""
    numbers = (told[name] for name in ("exact", "arrivals", "offset_ns", "taken", "behind_ns", "started"))
    head = struct.pack(f"<{HEAD}q", *numbers)
    rows = (struct.pack(f"<q{NAME}s", count, name.encode()[:NAME]) for name, count in told["sent"].items())
    (whole := path.with_suffix(".tally.new")).write_bytes(head + b"".join(rows))
    whole.replace(path)
