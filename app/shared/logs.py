"""Structured log lines, JSON one a line, written by a thread so that no request ever waits for the disk or for Loki."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson
import structlog
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from app.shared.environment import Telemetry
from app.shared.log_metrics import LogMetrics
from app.shared.loki import Line, LokiPusher

QUEUE_SIZE = 10_000  # lines
_STOP = None


class LogWriter:
    """Takes lines from any thread and never blocks; a line that finds the queue full, or the disk gone, is counted."""

    def __init__(
        self,
        path: Path | None,
        service: str,
        dropped: Callable[[str, int], None],
        *,
        loki: LokiPusher | None = None,
        size: int = QUEUE_SIZE,
    ) -> None:
        """`path` is appended to, None writes to standard output; `dropped` is told why how many lines were lost."""
        self.service = service
        self._file: BinaryIO = sys.stdout.buffer if path is None else path.open("ab")
        self._dropped = dropped
        self._loki = loki
        self._queue: queue.Queue[bytes | None] = queue.Queue(size)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, telemetry: Telemetry, service: str, registry: CollectorRegistry) -> LogWriter:
        """The writer that `telemetry` asks for, with its counters in `registry`. Raises OSError for the file."""
        metrics = LogMetrics(registry)
        loki = None
        if telemetry.loki is not None:
            loki = LokiPusher(telemetry.loki, service, metrics, telemetry.time_scale)
        return cls(telemetry.log_file, service, metrics.dropped, loki=loki)

    def msg(self, line: Line) -> None:
        """Queue one line for the file, and for Loki where there is one."""
        try:
            self._queue.put_nowait(line.text)
        except queue.Full:
            self._dropped("queue", 1)
        if self._loki is not None:
            self._loki.put(line)

    debug = info = warning = error = critical = msg

    def close(self, timeout: float) -> None:
        """Write what is queued, then push what is queued, for at most `timeout` seconds each."""
        try:
            self._queue.put(_STOP, timeout=timeout)
            self._thread.join(timeout)
        except queue.Full:
            pass  # the disk hangs: what waits for it is lost
        if self._loki is not None:
            self._loki.close(timeout)

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
                self._dropped("disk", len(lines))


def make_logger(writer: LogWriter, component: str) -> FilteringBoundLogger:
    """A structlog logger of the service's `component` whose lines go to `writer`."""

    def render(_logger: WrappedLogger, method: str, event: EventDict) -> tuple[tuple[Line], dict[str, object]]:
        now, level = time.time_ns(), method.upper()
        head = {"timestamp": _rfc3339(now), "level": level, "service": writer.service, "component": component}
        return (Line(now, level, component, orjson.dumps({**head, **event})),), {}

    logger: FilteringBoundLogger = structlog.wrap_logger(
        writer,
        processors=[render],
        wrapper_class=structlog.make_filtering_bound_logger("INFO"),
        context_class=dict,
    )
    return logger


def _rfc3339(time_ns: int) -> str:
    """UTC with milliseconds."""
    at = datetime.fromtimestamp(time_ns // 1_000_000 / 1_000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
