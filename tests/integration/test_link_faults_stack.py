"""Faults on the links of a stack that the supervisor has started, as a client of real services meets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from harness.core.errors import HarnessError
from harness.faults import Blackhole, Latency, Reset
from harness.stack.handle import Stack
from harness.stack.isolation import VARIABLE, best_isolation
from harness.stack.runtime import up

pytestmark = pytest.mark.stack

TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: broken}
spec:
  services:
    redis: {use: redis}
  links:
    x->redis: {to: redis.resp}
    y->redis: {to: redis.resp}
  target: redis.resp
"""
X, Y = "x->redis", "y->redis"


@pytest.fixture(scope="module", params=["", "subreaper"], ids=["best isolation", "subreaper"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("broken")
    (directory / "stack.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(directory / "state"))
        if request.param:
            patch.setenv(VARIABLE, request.param)
        best_isolation.cache_clear()
        with up(directory / "stack.yaml", lease=True, emit=lambda _: None) as one:
            yield one
    best_isolation.cache_clear()


@pytest.fixture
def client(stack: Stack) -> Iterator[redis.Redis]:
    with connect(stack, X) as one:
        yield one


def connect(stack: Stack, link: str) -> redis.Redis:
    host, port = stack.link(link).split(":")
    return redis.Redis(host, int(port), socket_timeout=0.5, socket_connect_timeout=5, retry=None)


def test_a_client_of_redis_sees_latency_reset_and_blackhole_and_their_end(stack: Stack, client: redis.Redis) -> None:
    assert client.set("key", "value")
    with Latency(stack.links, X, "2s"), pytest.raises(redis.exceptions.TimeoutError):
        client.get("key")
    assert client.get("key") == b"value"
    with Reset(stack.links, X) as reset:
        for _ in range(2):  # the connection of the pool, and a new one
            with pytest.raises(redis.exceptions.ConnectionError):
                client.get("key")
        assert reset.counters()["refused"] >= 1
    assert client.get("key") == b"value"
    with Blackhole(stack.links, X), connect(stack, Y) as other:
        with pytest.raises(redis.exceptions.TimeoutError):
            client.get("key")
        assert other.get("key") == b"value"
    assert client.get("key") == b"value"
    assert stack.died() == [] and stack.healthy()


def test_a_stack_that_ends_takes_its_faults_along(stack: Stack) -> None:
    fault = Latency(stack.links, X, "5ms", expect_traffic=False)
    fault.begin()
    stack.close()
    with pytest.raises(HarnessError) as raised:
        fault.end()
    assert raised.value.slug == "links-lost"
