"""Log lines to Loki, in bounded batches by a thread of its own; a Loki that is slow or gone costs lines, never time."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import requests

from app.shared.log_metrics import LogMetrics

PUSH_PATH = "/loki/api/v1/push"
PERIOD = 5.0  # seconds that a line waits for company at most, divided by the time scale
TIMEOUT = 1.0  # seconds, to connect and again to be answered
BACKOFF = 0.25  # seconds before the one retry
QUEUE_SIZE = 10_000  # lines
BATCH_LINES = 1_000
BATCH_BYTES = 512 * 1_024
_STOP = None


@dataclass(frozen=True, slots=True)
class Line:
    """One log line: a JSON object without its newline, and what was put into it; `time_ns` since 1970."""

    time_ns: int
    level: str
    component: str
    text: bytes


class LokiPusher:
    """Takes lines from any thread and never blocks. What does not reach Loki is counted with the reason.

    A push whose answer was lost is made again and does no harm: Loki keeps one of two lines that are alike in
    stream, time and text.
    """

    def __init__(
        self,
        base_url: str,
        service: str,
        metrics: LogMetrics,
        time_scale: float = 1.0,
        *,
        timeout: float = TIMEOUT,
        size: int = QUEUE_SIZE,
    ) -> None:
        """`base_url` such as http://host:port; `timeout` seconds for one push; `size` lines that may wait."""
        self._url = base_url + PUSH_PATH
        self._service = service
        self._metrics = metrics
        self._period = PERIOD / time_scale
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy from the environment between us and Loki
        self._session.headers["content-type"] = "application/json"
        self._queue: queue.Queue[Line | None] = queue.Queue(size)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loki-pusher", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Queue one line."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._metrics.dropped("queue", 1)

    def close(self, timeout: float) -> None:
        """Push what is queued, but wait no longer than `timeout` seconds for a Loki that does not answer."""
        until = time.monotonic() + timeout
        self._stopping.set()  # ends the wait before a retry
        try:
            self._queue.put(_STOP, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        stopped = False
        while not stopped:
            batch, stopped = self._collect()
            if batch:
                self._send(batch)
        self._session.close()

    def _collect(self) -> tuple[list[Line], bool]:
        """The next batch, full or old enough or the last one; and whether it is the last."""
        batch: list[Line] = []
        size = 0
        until: float | None = None
        while len(batch) < BATCH_LINES and size < BATCH_BYTES:
            try:
                line = self._queue.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if line is None:
                return batch, True
            batch.append(line)
            size += len(line.text)
            until = time.monotonic() + self._period if until is None else until
        return batch, False

    def _send(self, batch: Sequence[Line]) -> None:
        body = payload(self._service, batch)
        problem = self._push(body)
        if problem is not None and problem[1]:
            self._stopping.wait(BACKOFF)
            self._metrics.retries.inc()
            problem = self._push(body)
        if problem is None:
            self._metrics.pushed.inc(len(batch))
        else:
            self._metrics.dropped(problem[0], len(batch))

    def _push(self, body: bytes) -> tuple[str, bool] | None:
        """None where Loki took it, else the reason and whether another try may help."""
        try:
            reply = self._session.post(self._url, data=body, timeout=self._timeout, allow_redirects=False)
        except requests.RequestException:
            return "unreachable", True
        status = reply.status_code
        return None if 200 <= status < 300 else ("refused", status == 429 or status >= 500)


def payload(service: str, batch: Sequence[Line]) -> bytes:
    """Loki's JSON: one stream for each component and level, its lines ordered by time."""
    streams: defaultdict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in batch:
        streams[line.component, line.level].append(line)
    return orjson.dumps(
        {
            "streams": [
                {
                    "stream": {"service": service, "component": component, "level": level},
                    "values": [[str(line.time_ns), line.text.decode()] for line in sorted(lines, key=_time)],
                }
                for (component, level), lines in streams.items()
            ]
        }
    )


def _time(line: Line) -> int:
    return line.time_ns
