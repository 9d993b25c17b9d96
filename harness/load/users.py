"""The Locust user that scenarios derive from. Works under the harness and under plain `locust -f`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

from gevent import get_hub, getcurrent
from locust import User
from locust.exception import LocustError, StopTest

from harness.load.http_client import Channel, HttpClient, Moment
from harness.load.http_connection import SWEEP_SECONDS, Runtime
from harness.load.http_message import Target
from harness.load.reply import Reply

_runtime: Runtime | None = None


def runtime() -> Runtime:
    """The process' one event loop, with the sweep that ends requests whose deadline has passed."""
    global _runtime
    if _runtime is None:
        _runtime = Runtime(get_hub(), getcurrent)
        _runtime.sweeper = get_hub().loop.timer(SWEEP_SECONDS, SWEEP_SECONDS, ref=False)
        _runtime.sweeper.start(_runtime.sweep)
    return _runtime


class Sink(Protocol):
    """Where samples go: the harness' recorder, or Locust's request event."""

    def channel(self, method: str, name: str) -> Channel: ...
    def value(self, metric: str, value: float, tags: dict[str, Any], due_ns: int) -> None: ...


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
        self._sink: Sink = self.sink or _LocustSink(self)
        self._due_ns = 0
        self._first = False
        host = self.host or environment.host
        try:
            target = Target(host or "")
        except ValueError as error:
            raise StopTest(f"{error}; give the base URL with --host or as the user's `host`") from None
        self.client = HttpClient(
            target,
            runtime(),
            channel=self._sink.channel,
            moment=self._moment,
            timeout=self.timeout,
            trace=self.trace,
        )

    def begin_task(self, due_ns: int) -> None:
        """The scheduled time of the task that runs next: it decides the phase of all that the task records, and the
        latency of its first request counts from there; that of later ones from when they are made."""
        self._due_ns = due_ns
        self._first = True

    def end_task(self) -> None:
        """What follows belongs to no arrival."""
        self._due_ns, self._first = 0, False

    def record(self, metric: str, value: float, /, **tags: Any) -> None:
        """Record a sample of the scenario's own, such as recall. Raises ValueError for NaN or a negative value."""
        self._sink.value(metric, value, tags, self._due_ns or time.monotonic_ns())

    def _moment(self, now_ns: int) -> Moment:
        if self._first:
            self._first = False
            return Moment(self._due_ns, self._due_ns)
        return Moment(self._due_ns or now_ns, now_ns)


class _LocustSink:
    """Plain `locust -f`: each request fires Locust's own event; scenario metrics have no place there."""

    def __init__(self, user: SloUser) -> None:
        self._user = user

    def channel(self, method: str, name: str) -> Channel:
        return _LocustChannel(self._user, method, name)

    def value(self, metric: str, value: float, tags: dict[str, Any], due_ns: int) -> None:
        pass


class _LocustChannel:
    def __init__(self, user: SloUser, method: str, name: str) -> None:
        self._user, self._method, self._name = user, method, name

    def sent(self, moment: Moment) -> None:
        pass

    def retried(self, moment: Moment) -> None:
        pass

    def finished(self, moment: Moment, start_ns: int, end_ns: int, reply: Reply) -> None:
        self._user.environment.events.request.fire(
            request_type=self._method,
            name=self._name,
            response_time=(end_ns - start_ns) / 1e6,
            response_length=len(reply.body),
            response=reply,
            context=self._user.context(),
            exception=None if reply.ok else LocustError(reply.error),
            start_time=time.time() - (end_ns - start_ns) / 1e9,
        )


def user_classes(namespace: Mapping[str, Any]) -> list[type[Any]]:
    """The concrete Locust users in a module, SloUsers or not, by name."""
    found: set[Any] = {one for one in namespace.values() if isinstance(one, type) and issubclass(one, User)}
    return sorted((one for one in found if not one.abstract), key=lambda one: one.__name__)


def artefact(name: str) -> str:
    """The directory of a built artefact, as the harness names it in the environment. Raises LookupError."""
    variable = f"SLO_ARTEFACT_{name.upper().replace('-', '_')}"
    if variable not in os.environ:
        raise LookupError(
            f"{variable} is not set: run this through `harness run`, or set it to the artefact's directory"
        )
    return os.environ[variable]
