"""The user of HTTP services."""

from __future__ import annotations

from typing import Any

from locust.exception import StopTest

from harness.load.http_client import HttpClient
from harness.load.http_message import Target
from harness.load.users.recording import RecordingUser, runtime


class SloUser(RecordingUser):
    """One user: a keep-alive connection, one request at a time, every outcome recorded.

    host: base URL; timeout: seconds for a whole reply; trace: send a W3C traceparent with each request.
    """

    abstract = True
    trace = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
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
