"""What all users have in common: scheduled times, where samples go, and the process' one event loop."""

from __future__ import annotations

import time
from typing import Any

from gevent import Timeout, get_hub, getcurrent
from locust import User
from locust.exception import LocustError

from harness.load.http_connection import SWEEP_SECONDS, Runtime
from harness.load.sink import Channel, Moment, Result, Sink

_runtime: Runtime | None = None


def runtime() -> Runtime:
    """The process' one event loop, with the sweep that ends requests whose deadline has passed."""
    global _runtime
    if _runtime is None:
        _runtime = Runtime(get_hub(), getcurrent, lambda seconds: Timeout(seconds, False))
        _runtime.sweeper = get_hub().loop.timer(SWEEP_SECONDS, SWEEP_SECONDS, ref=False)
        _runtime.sweeper.start(_runtime.sweep)
    return _runtime


class RecordingUser(User):  # type: ignore[misc]
    """One user whose client records every request: when it was due, what it came to, how long it took.

    timeout: seconds for a whole reply; sink: set by the harness' worker, without it Locust's own event is fired.
    """

    abstract = True
    timeout = 10.0
    sink: Sink | None = None

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._sink: Sink = self.sink or _LocustSink(self)
        if self.sink is not None and _listened_to(environment):
            self._sink = _BothSinks(self.sink, _LocustSink(self))
        self._due_ns = 0
        self._first = False

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

    def __init__(self, user: RecordingUser) -> None:
        self._user = user

    def channel(self, method: str, name: str) -> Channel:
        return _LocustChannel(self._user, method, name)

    def value(self, metric: str, value: float, tags: dict[str, Any], due_ns: int) -> None:
        pass


class _LocustChannel:
    def __init__(self, user: RecordingUser, method: str, name: str) -> None:
        self._user, self._method, self._name = user, method, name

    def sent(self, moment: Moment) -> None:
        pass

    def retried(self, moment: Moment) -> None:
        pass

    def finished(self, moment: Moment, start_ns: int, end_ns: int, reply: Result) -> None:
        if not _listened_to(self._user.environment):
            return
        self._user.environment.events.request.fire(
            request_type=self._method,
            name=self._name,
            response_time=(end_ns - start_ns) / 1e6,
            response_length=reply.size,
            response=reply,
            context=self._user.context(),
            exception=None if reply.error is None else LocustError(reply.error),
            start_time=time.time() - (end_ns - start_ns) / 1e9,
        )


class _BothSinks:
    """Under the harness, when the scenario listens to Locust's request event too."""

    def __init__(self, recorder: Sink, locust: Sink) -> None:
        self._recorder, self._locust = recorder, locust

    def channel(self, method: str, name: str) -> Channel:
        return _BothChannels(self._recorder.channel(method, name), self._locust.channel(method, name))

    def value(self, metric: str, value: float, tags: dict[str, Any], due_ns: int) -> None:
        self._recorder.value(metric, value, tags, due_ns)


class _BothChannels:
    def __init__(self, recorder: Channel, locust: Channel) -> None:
        self.sent, self.retried = recorder.sent, recorder.retried
        self._recorder, self._locust = recorder, locust

    def finished(self, moment: Moment, start_ns: int, end_ns: int, reply: Result) -> None:
        self._recorder.finished(moment, start_ns, end_ns, reply)
        self._locust.finished(moment, start_ns, end_ns, reply)


def _listened_to(environment: Any) -> bool:
    """Whether anybody waits for Locust's request event, which costs as much as the request."""
    return bool(environment.events.request._handlers)
