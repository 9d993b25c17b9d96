"""The Locust user that scenarios derive from. Works under the harness and under plain `locust -f`."""

from __future__ import annotations

import os
import time
from typing import Any, Protocol
from urllib.parse import urlsplit

from locust import User
from locust.exception import LocustError

from harness.load.http_client import HttpClient


class Sink(Protocol):
    """Where samples go: the harness' recorder, or Locust's request event."""

    def sent_request(self, name: str, due_ns: int) -> None: ...
    def finished_request(self, name: str, due_ns: int, start_ns: int, end_ns: int, outcome: str) -> None: ...
    def value(self, metric: str, value: float, tags: dict[str, str], due_ns: int) -> None: ...


class LocustSink:
    """Plain `locust -f`: each request fires Locust's own event; scenario metrics have no place there."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment

    def sent_request(self, name: str, due_ns: int) -> None:
        pass

    def finished_request(self, name: str, due_ns: int, start_ns: int, end_ns: int, outcome: str) -> None:
        self._environment.events.request.fire(
            request_type="HTTP",
            name=name,
            response_time=(end_ns - start_ns) / 1e6,
            response_length=0,
            exception=None if outcome == "ok" else LocustError(outcome),
            context={},
        )

    def value(self, metric: str, value: float, tags: dict[str, str], due_ns: int) -> None:
        pass


class SloUser(User):  # type: ignore[misc]
    """One user: a keep-alive connection, one request at a time, every outcome recorded.

    host: base URL; timeout: seconds for a whole reply; trace: send a W3C traceparent with each request.
    """

    abstract = True
    timeout = 10.0
    trace = True
    sink: Sink | None = None  # set by the harness' worker

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        address = urlsplit(self.host or environment.host or "http://127.0.0.1")
        self._sink: Sink = self.sink or LocustSink(environment)
        self._due_ns = 0
        self.client = HttpClient(
            address.hostname or "127.0.0.1",
            address.port or 80,
            base=address.path.rstrip("/"),
            timeout=self.timeout,
            trace=self.trace,
            sink=self._sink,
            due=self._take_due,
        )

    def begin_task(self, due_ns: int) -> None:
        """The scheduled time of the task that runs next; its first request counts from there."""
        self._due_ns = due_ns
        self._task_due_ns = due_ns

    def record(self, metric: str, value: float, **tags: str) -> None:
        """Record a sample of the scenario's own, such as recall. Raises ValueError for NaN or a negative value."""
        self._sink.value(metric, value, tags, getattr(self, "_task_due_ns", 0) or time.monotonic_ns())

    def _take_due(self) -> int:
        due, self._due_ns = self._due_ns, 0
        return due or time.monotonic_ns()


def artefact(name: str) -> str:
    """The directory of a built artefact, as the harness names it in the environment. Raises LookupError."""
    variable = f"SLO_ARTEFACT_{name.upper().replace('-', '_')}"
    if variable not in os.environ:
        raise LookupError(
            f"{variable} is not set: run this through `harness run`, or set it to the artefact's directory"
        )
    return os.environ[variable]
