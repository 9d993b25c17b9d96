"""Two whole reference systems at once on one machine: every service of both is healthy, and neither sees the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from harness.stack.runtime import Stack, up
from harness.telemetry.counters import read_counters
from harness.telemetry.metrics import Instant, PrometheusStore
from harness.telemetry.targets import await_targets
from tests.integration.helpers import ROOT

pytestmark = pytest.mark.stack


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Stack]]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with ExitStack() as stacks:
        with ThreadPoolExecutor(2) as pool:
            starts = [pool.submit(up, ROOT / "stack.yaml", lease=True, emit=lambda _: None) for _ in range(2)]
        for start in starts:
            if start.exception() is None:
                stacks.enter_context(start.result())
        yield [start.result() for start in starts]


def test_two_whole_systems_side_by_side(both: list[Stack]) -> None:
    for stack in both:
        assert {one.state for one in stack.services()} == {"healthy", "done"}
        assert stack.died() == []
        assert stack.unavailable == {}
    addresses = [{address for one in stack.services() for address in one.addresses} for stack in both]
    assert not addresses[0] & addresses[1]

    first, second = both
    for _ in range(5):
        body = {"query": "how to open a file", "top_k": 3}
        assert len(requests.post(f"http://{first.address('app.http')}/search", json=body, timeout=5).json()["results"])
    assert requests.post(f"http://{first.address('app.http')}/predict", json={"entity_id": 3}, timeout=5).ok
    counted = [
        read_counters(stack.metrics_url("app"), ["vector_search_requests_total", "model_inference_requests_total"])
        for stack in both
    ]
    assert [list(one.values()) for one in counted] == [[5, 1], [0, 0]]

    for stack in both:  # each Prometheus sees exactly its own
        url = f"http://{stack.address('prometheus.http')}"
        await_targets(url, stack.scrape(), deadline=40)
        answer = PrometheusStore(url).instant("up")
        assert isinstance(answer, Instant)
        assert {point.labels["instance"] for point in answer.series} == set(stack.scrape().values())
        (alertmanager,) = requests.get(f"{url}/api/v1/alertmanagers", timeout=5).json()["data"]["activeAlertmanagers"]
        assert stack.address("alertmanager.http") in alertmanager["url"]
    second.close()
    assert {one.state for one in first.services()} == {"healthy", "done"}
    assert first.died() == []
