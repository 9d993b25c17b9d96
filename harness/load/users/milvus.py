"""The user of Milvus."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from locust.exception import StopTest

from harness.load.milvus_client import MilvusClient, Search
from harness.load.sink import Channel, Moment
from harness.load.users.recording import RecordingUser, runtime

__all__ = ["MilvusUser", "Search", "unrecorded"]


def unrecorded(host: str) -> MilvusClient:
    """A client for what prepares a load or tidies up after it: only for calls without a name."""

    def nowhere(method: str, name: str) -> Channel:
        raise ValueError(f"{method} {name}: this client records nothing; give name=None")

    return MilvusClient(host, runtime(), channel=nowhere, moment=lambda now_ns: Moment(now_ns, now_ns))


class MilvusUser(RecordingUser):
    """One user: one HTTP/2 connection, one call at a time, every outcome recorded.

    host: http://host:port or host:port; timeout: seconds for a whole reply; token: user:password, or "".

        nearest = Search("documents", top_k=10, params={"nprobe": 96})
        reply = self.client.search(nearest.encode(vector), name="search")
    """

    abstract = True
    token = ""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        metadata = {"authorization": b64encode(self.token.encode()).decode()} if self.token else {}
        try:
            self.client = MilvusClient(
                self.host or environment.host or "",
                runtime(),
                channel=self._sink.channel,
                moment=self._moment,
                timeout=self.timeout,
                metadata=metadata,
            )
        except ValueError as error:
            raise StopTest(f"{error}; give it with --host or as the user's `host`") from None
