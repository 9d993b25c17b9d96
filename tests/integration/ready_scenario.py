"""Asks a service whether it is ready, again and again: the least load that there can be."""

from __future__ import annotations

from locust import task

from harness.load.users import SloUser


class Ready(SloUser):
    @task  # type: ignore[untyped-decorator]
    def ready(self) -> None:
        self.client.get("/-/ready", name="ready")
