"""Whether the app's dependencies can be used, asked of each of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from app.shared.dependency import DependencyError

DEADLINE = 0.5  # seconds


async def problems(checks: Mapping[str, Callable[[], Awaitable[None]]]) -> dict[str, str]:
    """What is wrong with each dependency that cannot be used; empty when all is well."""
    found = await asyncio.gather(*(_problem(check()) for check in checks.values()))
    return {name: problem for name, problem in zip(checks, found, strict=True) if problem}


async def _problem(check: Awaitable[None]) -> str | None:
    try:
        async with asyncio.timeout(DEADLINE):
            await check
    except DependencyError as error:
        return f"{error.reason}: {error.detail}"
    except TimeoutError:
        return f"timeout: no answer within {DEADLINE:g} s"
    return None
