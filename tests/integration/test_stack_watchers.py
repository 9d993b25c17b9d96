"""The services that watch, on the real ones: exporters see, alerts reach their receiver, Loki takes lines."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests

from harness.results.events import read_jsonl
from harness.stack.handle import Stack
from harness.stack.isolation import VARIABLE, best_isolation
from harness.stack.runtime import up
from harness.stack.services.alertmanager import TEMPLATES
from harness.stack.services.relocated import shown_its_files
from harness.stack.tools import resolve_tool
from harness.telemetry.metrics import Instant, PrometheusStore
from harness.telemetry.targets import await_targets

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parent.parent.parent
ISOLATIONS = ("pidns", "userns", "subreaper") if os.geteuid() == 0 else ("subreaper",)  # others: not everywhere

STACK = f"""\
apiVersion: harness/v1
kind: Stack
metadata: {{name: watchers}}
spec:
  services:
    postgres: {{use: postgres}}
    redis: {{use: redis}}
    prometheus: {{use: prometheus, config: prometheus.yml}}
    alertmanager: {{use: alertmanager, config: alertmanager.yml}}
    notifications: {{use: webhook-sink}}
    postgres-exporter: {{use: postgres-exporter, config: {ROOT}/monitoring/postgres-exporter/queries.yml}}
    redis-exporter: {{use: redis-exporter}}
    loki: {{use: loki, config: {ROOT}/monitoring/loki/loki.yaml}}
  scrape:
    {{postgres: postgres-exporter.http, redis: redis-exporter.http, loki: loki.http, alertmanager: alertmanager.http}}
  target: redis.resp
"""
PROMETHEUS = """\
global: {scrape_interval: 1s, evaluation_interval: 200ms}
rule_files: [rules/*.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ['elsewhere:9093']}]}]}
scrape_configs: [{job_name: postgres}, {job_name: redis}, {job_name: loki}, {job_name: alertmanager}]
"""
RULES = """\
groups:
  - name: watchers
    rules:
      - {alert: RedisDown, expr: redis_up == 0, labels: {severity: critical}}
      - {alert: SlowTable, expr: pg_active_query_max_seconds > 1, labels: {severity: warning}}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("watchers")
    (directory / "stack.yaml").write_text(STACK)
    (directory / "prometheus.yml").write_text(PROMETHEUS)
    production = (ROOT / "monitoring/alertmanager/alertmanager.yml").read_text()
    # rules are not scaled yet, so this stack's time is real: only its patience is shorter
    (directory / "alertmanager.yml").write_text(production.replace("group_interval: 15s", "group_interval: 1s"))
    (directory / "rules").mkdir()
    (directory / "rules/one.yml").write_text(RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(directory / "state"))
        with up(directory / "stack.yaml", lease=True, emit=lambda _: None) as running:
            await_targets(f"http://{running.address('prometheus.http')}", running.scrape())
            yield running


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def notifications(stack: Stack, alert: str, status: str) -> list[dict[str, Any]]:
    lines = read_jsonl(stack.service_dir("notifications") / "notifications.jsonl")
    return [
        line
        for line in lines
        if line["payload"]["status"] == status
        and [one["labels"]["alertname"] for one in line["payload"]["alerts"]] == [alert]
    ]


def test_each_says_its_version_and_prometheus_knows_its_alertmanager(stack: Stack) -> None:
    versions = {one.name: one.version for one in stack.services()}
    named = ("postgres", "redis", "prometheus", "alertmanager", "postgres-exporter", "redis-exporter", "loki")
    assert {name: versions[name][:1].isdigit() for name in named} == dict.fromkeys(named, True), versions
    told = requests.get(f"http://{stack.address('prometheus.http')}/api/v1/alertmanagers", timeout=5).json()
    assert [one["url"] for one in told["data"]["activeAlertmanagers"]] == [
        f"http://{stack.address('alertmanager.http')}/api/v2/alerts"
    ]


def test_an_alert_reaches_the_receiver_of_its_severity_and_its_end_does_too(stack: Stack) -> None:
    began = time.time_ns()
    stack.signal("redis", signal.SIGKILL)
    fired = until(lambda: notifications(stack, "RedisDown", "firing"))[-1]
    assert fired["receiver"] == "incident-response"
    assert fired["received_ns"] > began
    assert fired["payload"]["alerts"][0]["labels"]["stack"] == stack.id
    back = time.time_ns()
    stack.start_service("redis")
    until(lambda: [one for one in notifications(stack, "RedisDown", "resolved") if one["received_ns"] > back])


def test_a_query_that_hangs_is_seen_by_the_exporter_and_told_to_oncall(stack: Stack) -> None:
    connection = psycopg2.connect(f"postgresql://postgres@{stack.address('postgres.sql')}/postgres", async_=1)
    try:
        until(lambda: connection.poll() == 0)
        connection.cursor().execute("SELECT pg_sleep(30)")
        assert until(lambda: notifications(stack, "SlowTable", "firing"))[0]["receiver"] == "oncall"
    finally:
        connection.close()


def test_statements_are_counted_without_those_of_the_exporter(stack: Stack) -> None:
    store = PrometheusStore(f"http://{stack.address('prometheus.http')}")

    def calls() -> float:
        answer = store.instant("sum(pg_slo_calls_total)")
        assert isinstance(answer, Instant)
        return answer.series[0].value

    store.wait_for_sample("postgres", time.time_ns())
    before = calls()
    connection = psycopg2.connect(f"postgresql://postgres@{stack.address('postgres.sql')}/postgres")
    connection.autocommit = True
    for _ in range(7):
        connection.cursor().execute("SELECT 1")
    connection.close()
    # a scrape that began before the last statement may end after it
    store.wait_for_sample("postgres", time.time_ns() + 1_000_000_000)
    assert calls() - before == 7
    exporter = psycopg2.connect(f"postgresql://exporter@{stack.address('postgres.sql')}/postgres")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        exporter.cursor().execute("CREATE TABLE mine (x int)")
    exporter.close()


def test_a_line_that_was_pushed_is_found_in_loki_and_its_labels_with_it(stack: Stack) -> None:
    base = f"http://{stack.address('loki.http')}/loki/api/v1"
    now = time.time_ns()
    stream = {"stream": {"service": "x", "level": "INFO"}, "values": [[str(now), "one line", {"trace_id": "ab"}]]}
    assert requests.post(f"{base}/push", json={"streams": [stream]}, timeout=5).status_code == 204
    asked = {"query": '{service="x"} | trace_id="ab"', "start": str(now - 10**9), "end": str(now + 10**9)}

    def found() -> Any:
        return requests.get(f"{base}/query_range", params=asked, timeout=5).json()["data"]["result"]

    (result,) = until(found)
    assert result["values"] == [[str(now), "one line"]]
    assert not (stack.root / "data").exists() and not (stack.root / "chunks").exists()


def test_an_alertmanager_from_a_package_runs_in_every_isolation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Debian's looks for its templates below /usr/share, where nobody has put them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "stack.yaml").write_text(
        "apiVersion: harness/v1\nkind: Stack\nmetadata: {name: a}\n"
        "spec: {services: {am: {use: alertmanager}}, target: am.http}\n"
    )
    if not shown_its_files(resolve_tool("alertmanager"), TEMPLATES):
        pytest.skip("this machine's Alertmanager finds its templates by itself")
    for isolation in ISOLATIONS:
        monkeypatch.setenv(VARIABLE, isolation)
        best_isolation.cache_clear()
        request.addfinalizer(best_isolation.cache_clear)
        with up(tmp_path / "stack.yaml", lease=True, emit=lambda _: None) as running:
            assert running.isolation == isolation
            told = requests.get(f"http://{running.address('am.http')}/api/v2/status", timeout=5).json()
            assert told["config"]["original"] and told["cluster"]["status"] == "disabled"
