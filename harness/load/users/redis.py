"""The user of Redis."""

from __future__ import annotations

from typing import Any

from locust.exception import StopTest

from harness.load.redis_client import RedisClient
from harness.load.users.recording import RecordingUser, runtime


class RedisUser(RecordingUser):
    """One user: one connection, one command or pipeline at a time, every outcome recorded.

    host: redis://[[user]:password@]host[:port][/database], or host:port; timeout: seconds for a whole reply.

        reply = self.client.execute("HGETALL", "features:7", name="features")
        both = self.client.pipeline([("GET", "a"), ("GET", "b")], name="pair")
    """

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        try:
            self.client = RedisClient(
                self.host or environment.host or "",
                runtime(),
                channel=self._sink.channel,
                moment=self._moment,
                timeout=self.timeout,
            )
        except ValueError as error:
            raise StopTest(f"{error}; give it with --host or as the user's `host`") from None
