"""Faults on signals: what whoever watches the system sees of them, and that they are undone."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from harness.core.errors import HarnessError, UsageError
from harness.faults import guarded, loki_refusing
from harness.faults.making import make
from harness.faults.waiting import wait_for
from harness.model.events import Event, FaultEvent
from harness.stack.handle import Stack
from harness.stack.runtime import up
from harness.stack.services import loki
from harness.telemetry.local import local_get, local_post
from harness.telemetry.targets import await_targets
from tests.integration.service_faults_lab import SupervisorRelay, ask, set_and_killed

pytestmark = pytest.mark.stack

TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: blind}
spec:
  timeScale: 75
  services:
    prometheus: {use: prometheus}
    loki: {use: loki}
    traces: {use: otlp-sink}
    notifications: {use: webhook-sink}
  scrape: {prometheus: prometheus.http, loki: loki.http}
  target: loki.http
"""
PATIENCE = 20.0
MAKE: dict[str, dict[str, Any]] = {
    "scrape-dropped": {"job": "loki"},
    "loki-refusing": {"expect_traffic": False},
    "sink-stalled": {"service": "traces"},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("blind")
    (directory / "stack.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(directory / "state"))
        with up(directory / "stack.yaml", lease=True, emit=lambda _: None) as one:
            await_targets(f"http://{one.address('prometheus.http')}", one.scrape())
            yield one


def asked(stack: Stack, query: str) -> list[Any]:
    reply = local_get(f"http://{stack.address('prometheus.http')}/api/v1/query", params={"query": query}, timeout=5)
    found: list[Any] = reply.json()["data"]["result"]
    return found


def push(stack: Stack, line: str) -> int:
    streams = [{"stream": {"service": "x"}, "values": [[str(time.time_ns()), line]]}]
    url = f"http://{stack.address('loki.http')}/loki/api/v1/push"
    return local_post(url, json={"streams": streams}, timeout=5).status_code


def lines(stack: Stack) -> list[str]:
    """All that Loki has, of whatever stream."""
    url = f"http://{stack.address('loki.http')}/loki/api/v1/query_range"
    reply = local_get(url, params={"query": '{service=~".+"}', "since": "1h"}, timeout=5).json()
    return [value[1] for stream in reply["data"]["result"] for value in stream["values"]]


def export(stack: Stack) -> int:
    """The status of an empty export. Raises TimeoutError after a second."""
    connection = http.client.HTTPConnection(stack.address("traces.http"), timeout=1)
    connection.request("POST", "/v1/traces", b"", {"Content-Type": "application/x-protobuf"})
    return connection.getresponse().status


def is_clear(stack: Stack, name: str) -> bool:
    if name == "scrape-dropped":
        return bool(asked(stack, 'up{job="loki"} == 1'))
    if name == "loki-refusing":
        return push(stack, "clear?") == 204
    try:
        return export(stack) == 200
    except TimeoutError:
        return False


# what a user sees


def test_a_dropped_job_has_no_series_and_is_not_down_and_an_exception_brings_it_back(stack: Stack) -> None:
    told: list[Event] = []
    with pytest.raises(ZeroDivisionError), make(stack, "scrape-dropped", {"job": "loki"}, told.append):
        assert wait_for(lambda: not asked(stack, 'up{job="loki"}'), PATIENCE), "absent, and not 0"
        assert asked(stack, 'absent(up{job="loki"})')
        assert asked(stack, 'up{job="prometheus"} == 1')
        assert asked(stack, "prometheus_config_last_reload_successful == 1")
        _ = 1 // 0
    assert wait_for(lambda: is_clear(stack, "scrape-dropped"), PATIENCE)
    begin, end = told
    assert isinstance(begin, FaultEvent) and isinstance(end, FaultEvent)
    assert (begin.touches, begin.parameters) == (("scrape loki",), {"job": "loki"})
    assert "loki is none of them" in begin.how and "was scraped anew" in end.how


def test_of_two_dropped_jobs_each_comes_back_by_itself_and_after_sigkill_too(stack: Stack) -> None:
    def active() -> set[str]:
        url = f"http://{stack.address('prometheus.http')}/api/v1/targets"
        return {one["labels"]["job"] for one in local_get(url, timeout=5).json()["data"]["activeTargets"]}

    with make(stack, "scrape-dropped", {"job": "prometheus"}):
        assert active() == {"loki"}
        set_and_killed(stack, "scrape-dropped", job="loki")
        assert wait_for(lambda: active() == {"loki"}, PATIENCE)
    assert active() == {"loki", "prometheus"}
    assert wait_for(lambda: is_clear(stack, "scrape-dropped"), PATIENCE)


@pytest.mark.parametrize("status", [429, 503])
def test_a_loki_that_refuses_keeps_nothing_and_counts_what_it_refused(stack: Stack, status: int) -> None:
    word = f"during {status}"
    with make(stack, "loki-refusing", {"status": status}) as fault:
        assert [push(stack, word) for _ in range(3)] == [status] * 3
        assert fault.counters() == {"refused": 3}
    assert fault.counters() == {"refused": 3}
    assert push(stack, f"after {status}") == 204
    assert wait_for(lambda: f"after {status}" in lines(stack), PATIENCE)
    assert word not in lines(stack)
    assert not [line for line in lines(stack) if "probe" in line], "our own lines are never kept"


def test_a_stalled_sink_takes_connections_and_answers_nothing_until_it_goes_on(stack: Stack) -> None:
    with make(stack, "sink-stalled", {"service": "traces"}), pytest.raises(TimeoutError):
        export(stack)
    assert export(stack) == 200
    received = local_get(f"http://{stack.address('traces.http')}/stats", timeout=5).json()
    assert (received["received"], received["refused"]) == (0, 0), "our own probes leave nothing"


def test_the_sink_of_notifications_too(stack: Stack) -> None:
    url = f"http://{stack.address('notifications.http')}/healthz"
    with make(stack, "sink-stalled", {"service": "notifications"}), pytest.raises(requests.exceptions.ReadTimeout):
        local_get(url, timeout=0.5)
    assert local_get(url, timeout=5).ok


# undone, whatever happens


@pytest.mark.parametrize("name", ["loki-refusing", "sink-stalled"])
def test_an_exception_undoes_it(stack: Stack, name: str) -> None:
    with pytest.raises(ZeroDivisionError), make(stack, name, MAKE[name]):
        _ = 1 // 0
    assert is_clear(stack, name)
    assert stack.not_undone() == []


@pytest.mark.parametrize("name", ["loki-refusing", "sink-stalled"])
def test_sigkill_of_who_set_it_undoes_it(stack: Stack, name: str) -> None:
    set_and_killed(stack, name, **MAKE[name])
    assert wait_for(lambda: is_clear(stack, name), PATIENCE)
    assert wait_for(lambda: {one["state"] for one in ask(stack, "undo-list")["entries"]} == {"done"}, PATIENCE)
    assert stack.healthy()


# without effect


def test_a_push_that_nobody_else_made_is_an_error(stack: Stack) -> None:
    with pytest.raises(HarnessError) as raised, make(stack, "loki-refusing", {}):
        pass
    assert (raised.value.slug, is_clear(stack, "loki-refusing")) == ("fault-without-effect", True)


def test_one_that_does_not_come_into_force_is_an_error_and_nothing_is_left(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(request: dict[str, Any]) -> dict[str, Any]:
        return {"op": "info"} if request["op"] == "signal" else request

    monkeypatch.setattr(guarded, "PATIENCE", 1.0)
    monkeypatch.setattr(loki_refusing, "TENANT", "nobody")  # a limit for somebody who never pushes
    before = (stack.service_dir("prometheus") / "prometheus.yml").read_text()
    with SupervisorRelay(stack, deaf) as relay:
        monkeypatch.setattr(stack, "guard", relay.guard)
        for name, values in MAKE.items():
            with pytest.raises(HarnessError) as raised:
                make(stack, name, values).begin()
            assert raised.value.slug == "fault-without-effect"
            assert wait_for(lambda name=name: is_clear(stack, name), PATIENCE)  # type: ignore[misc]
    assert (stack.service_dir("prometheus") / "prometheus.yml").read_text() == before
    assert (stack.service_dir("loki") / loki.RUNTIME).read_text() == loki.CALM


@pytest.mark.parametrize(("name", "values", "slug"), [
    ("scrape-dropped", {"job": "lokki"}, "fault-parameter"),
    ("loki-refusing", {"status": 418}, "fault-parameter"),
    ("sink-stalled", {"service": "loki"}, "service-unknown"),
])  # fmt: skip
def test_what_cannot_be_is_refused(stack: Stack, name: str, values: dict[str, Any], slug: str) -> None:
    with pytest.raises(UsageError) as raised:
        make(stack, name, values)
    assert raised.value.slug == slug
