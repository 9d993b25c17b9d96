"""The user of HTTP services."""

from __future__ import annotations

from typing import Any

from locust.exception import StopTest

from harness.load.http_client import HttpClient
from harness.load.http_connection import Limits
from harness.load.http_message import Target
from harness.load.http_tls import Tls
from harness.load.users.recording import RecordingUser, runtime


class SloUser(RecordingUser):
    """One user: a keep-alive connection, one request at a time, every outcome recorded.

    host: base URL; timeout: seconds for a whole reply; connect_timeout: of that, for connecting; trace: send a W3C
    traceparent with each request; redirects: how many are followed; decompress: ask for gzip and deflate, and unpack
    it; limits: the largest reply and head; tls: who is trusted.
    """

    abstract = True
    connect_timeout = 5.0
    trace = True
    redirects = 0
    decompress = False
    limits = Limits()
    tls = Tls()

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        host = self.host or environment.host
        try:
            target = Target(host or "")
        except ValueError as error:
            raise StopTest(f"{error}; give the base URL with --host or as the user's `host`") from None
        try:
            self.client = HttpClient(
                target,
                runtime(),
                channel=self._sink.channel,
                moment=self._moment,
                timeout=self.timeout,
                connect_timeout=self.connect_timeout,
                trace=self.trace,
                redirects=self.redirects,
                decompress=self.decompress,
                limits=self.limits,
                tls=self.tls,
            )
        except OSError as error:
            raise StopTest(f"{self.tls}: {error}; give PEM files that can be read") from None

    def start(self, group: Any) -> Any:
        """As Locust's; a user that ends closes its connections."""
        greenlet = super().start(group)
        greenlet.rawlink(lambda _: self.client.close())
        return greenlet
