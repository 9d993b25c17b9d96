"""What every outbound call has in common: one deadline, at most one retry, a span, and counters of what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from opentelemetry.trace import SpanKind, StatusCode, Tracer

MILVUS = "milvus"
POSTGRES = "postgres"
REDIS = "redis"
MODEL_SERVER = "model-server"
# What OpenTelemetry calls those of them that are databases.
SYSTEMS = {MILVUS: "milvus", POSTGRES: "postgresql", REDIS: "redis"}

T = TypeVar("T")
Attributes = Mapping[str, str | int]


class DependencyError(Exception):
    """A dependency did not do its part. `dependency` is its name, `reason` a slug, `detail` for people."""

    def __init__(self, dependency: str, reason: str, detail: str) -> None:
        super().__init__(f"{dependency}-{reason}: {detail}")
        self.dependency = dependency
        self.reason = reason
        self.detail = detail

    @property
    def slug(self) -> str:
        """Such as postgres-timeout."""
        return f"{self.dependency}-{self.reason}"


class ConnectionLost(DependencyError):
    """The connection broke or could not be made. Worth one more try: what we ask may be asked twice."""

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(dependency, "unreachable", detail)


class CallCounts(Protocol):
    """Who counts what became of calls."""

    def retried(self, dependency: str) -> None:
        """A call is made a second time."""

    def failed(self, dependency: str) -> None:
        """A call failed for good."""

    def took(self, system: str, operation: str, seconds: float) -> None:
        """One attempt at `operation` of the database `system` ended, in whichever way."""


class Caller:
    """Makes calls. Each is one client span, `dependency.operation`, below the current one."""

    def __init__(self, tracer: Tracer, counts: CallCounts) -> None:
        self.tracer = tracer
        self._counts = counts

    async def __call__(
        self,
        dependency: str,
        operation: str,
        attempt: Callable[[], Awaitable[T]],
        *,
        deadline: float,
        attributes: Attributes | None = None,
    ) -> T:
        """Run `attempt`, a second time if its connection was lost, within `deadline` seconds in all.

        Raises DependencyError.
        """
        system = SYSTEMS.get(dependency)
        of_database = {} if system is None else {"db.system.name": system, "db.operation.name": operation}
        with self.tracer.start_as_current_span(
            f"{dependency}.{operation}",
            kind=SpanKind.CLIENT,
            attributes={**of_database, **(attributes or {})},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                async with asyncio.timeout(deadline):
                    try:
                        return await self._timed(system, operation, attempt)
                    except ConnectionLost:
                        self._counts.retried(dependency)
                        return await self._timed(system, operation, attempt)
            except DependencyError as error:
                failure = error
            except TimeoutError:
                failure = DependencyError(dependency, "timeout", f"no answer within {deadline:g} s")
            self._counts.failed(dependency)
            span.set_attribute("error.type", failure.reason)
            span.set_status(StatusCode.ERROR, failure.detail)
            raise failure from None

    async def _timed(self, system: str | None, operation: str, attempt: Callable[[], Awaitable[T]]) -> T:
        start = time.perf_counter()
        try:
            return await attempt()
        finally:
            if system is not None:
                self._counts.took(system, operation, time.perf_counter() - start)
