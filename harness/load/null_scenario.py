"""The scenario of `harness calibrate`: the least that a task can do."""

from __future__ import annotations

from harness.load.users import SloUser


def ask(user: SloUser) -> None:
    """One small request, as those of real scenarios are made."""
    user.client.post("/", json={}, name="null")


class Caller(SloUser):
    """Asks the null service."""

    tasks = [ask]  # noqa: RUF012 - Locust's own way of naming them
