"""Structured log lines, JSON one a line, written by a thread so that no request ever waits for the disk."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from app.config import SERVICE

QUEUE_SIZE = 10_000  # lines
_STOP = None


class LogWriter:
    """Takes lines from any thread and never blocks; a line that finds the queue full, or the disk gone, is counted."""

    def __init__(self, path: Path | None, dropped: Callable[[int], None], size: int = QUEUE_SIZE) -> None:
        """`path` is appended to, None writes to standard output; `dropped` is told how many lines were lost."""
        self._file: BinaryIO = sys.stdout.buffer if path is None else path.open("ab")
        self._dropped = dropped
        self._queue: queue.Queue[bytes | None] = queue.Queue(size)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def msg(self, line: bytes) -> None:
        """One line without its newline."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._dropped(1)

    debug = info = warning = error = critical = msg

    def close(self, timeout: float) -> None:
        """Write what is queued, for at most `timeout` seconds."""
        try:
            self._queue.put(_STOP, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        stopped = False
        while not stopped:
            batch = [self._queue.get()]
            while len(batch) < 512 and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            stopped = _STOP in batch
            lines = [line for line in batch if line is not None]
            try:
                self._file.write(b"".join(line + b"\n" for line in lines))
                self._file.flush()
            except OSError:
                self._dropped(len(lines))


def make_logger(writer: LogWriter, component: str) -> FilteringBoundLogger:
    """A structlog logger of the service's `component` whose lines go to `writer`."""

    def stamp(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"timestamp": now, "level": method.upper(), "service": SERVICE, "component": component}
        return {**head, **event}

    logger: FilteringBoundLogger = structlog.wrap_logger(
        writer,
        processors=[stamp, structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        wrapper_class=structlog.make_filtering_bound_logger("INFO"),
        context_class=dict,
    )
    return logger
