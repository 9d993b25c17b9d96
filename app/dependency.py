"""What every outbound call has in common: one deadline, at most one retry, and counters that say what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.metrics import Metrics

T = TypeVar("T")


class DependencyError(Exception):
    """A dependency did not do its part. `dependency` is milvus or postgres, `reason` a slug, `detail` for people."""

    def __init__(self, dependency: str, reason: str, detail: str) -> None:
        super().__init__(f"{dependency}-{reason}: {detail}")
        self.dependency = dependency
        self.reason = reason
        self.detail = detail


class ConnectionLost(DependencyError):
    """The connection broke or could not be made. Worth one more try: what we ask changes nothing over there."""

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(dependency, "unreachable", detail)


async def call(dependency: str, attempt: Callable[[], Awaitable[T]], *, deadline: float, metrics: Metrics) -> T:
    """Run `attempt`, a second time if its connection was lost, within `deadline` seconds in all.

    Raises DependencyError.
    """
    try:
        async with asyncio.timeout(deadline):
            try:
                return await attempt()
            except ConnectionLost:
                metrics.dependency_retries.labels(dependency).inc()
                return await attempt()
    except DependencyError:
        metrics.dependency_errors.labels(dependency).inc()
        raise
    except TimeoutError:
        metrics.dependency_errors.labels(dependency).inc()
        raise DependencyError(dependency, "timeout", f"no answer within {deadline:g} s") from None
