"""Between a client and whoever records: the moment a request was due, what it came to, and where that goes."""

from __future__ import annotations

from typing import Any, Protocol


class Moment:
    """When a request was due: `due_ns` decides its phase and second, `since_ns` is what its latency counts from."""

    __slots__ = ("due_ns", "since_ns")

    def __init__(self, due_ns: int, since_ns: int) -> None:
        self.due_ns = due_ns
        self.since_ns = since_ns


class Result(Protocol):
    """What every kind of reply tells a recorder. error: None, or the name of the outcome; size: bytes of the reply."""

    @property
    def error(self) -> str | None: ...
    @property
    def size(self) -> int: ...


class Channel(Protocol):
    """Where the samples of one request name go."""

    def sent(self, moment: Moment) -> None:
        """Bytes of a request went out on a connection: the server should count it."""

    def retried(self, moment: Moment) -> None:
        """They went out once more, because the server had closed the connection between two requests."""

    def finished(self, moment: Moment, start_ns: int, end_ns: int, reply: Result) -> None:
        """The request ended."""


class Sink(Protocol):
    """Where samples go: the harness' recorder, or Locust's request event."""

    def channel(self, method: str, name: str) -> Channel: ...
    def value(self, metric: str, value: float, tags: dict[str, Any], due_ns: int) -> None: ...
