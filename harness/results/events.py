"""Appending and merging the event files of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from harness.core.clock import mono_ns, wall_ns
from harness.model.events import SCHEMA_VERSION, Event

Handler = Callable[[Event], None]


class EventWriter:
    """Appends the events of one producer to `<run>/events/<producer>.jsonl` and tells its handlers.

    One line is one write(2) to a file opened for appending, so a kill leaves whole lines.
    """

    def __init__(self, directory: Path, producer: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._producer = producer
        self._sequence = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(directory / f"{producer}.jsonl", flags, 0o644)
        self.handlers: list[Handler] = []

    def emit(self, event: Event) -> None:
        """Record the event, then hand it to each handler in turn."""
        line = {
            "schema": SCHEMA_VERSION,
            "producer": self._producer,
            "seq": self._sequence,
            "wall_ns": wall_ns(),
            "mono_ns": mono_ns(),
            "kind": event.kind,
            **event.payload(),
        }
        self._sequence += 1
        os.write(self._fd, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        for handler in self.handlers:
            handler(event)

    def close(self) -> None:
        os.close(self._fd)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file that a kill may have cut: a last line without newline is left out."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield orjson.loads(line)


def read_events(directory: Path) -> list[dict[str, Any]]:
    """All producers' events in the order they happened (monotonic time, then producer and sequence)."""
    events = [event for path in sorted(directory.glob("*.jsonl")) for event in read_jsonl(path)]
    return sorted(events, key=lambda event: (event["mono_ns"], event["producer"], event["seq"]))
