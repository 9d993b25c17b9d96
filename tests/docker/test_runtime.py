"""A stack in containers, on a real engine: all is up and seen, ends and goes on as locally, and leaves nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psycopg2
import pytest
import redis
import requests
from testcontainers.core.config import testcontainers_config

from harness.core.errors import HarnessError, UsageError
from harness.model.events import Event, StackEvent
from harness.results.events import read_jsonl
from harness.stack import scrape_jobs
from harness.stack.docker.engine import Engine
from harness.stack.docker.images import image_of
from harness.stack.docker.labels import SERVICE, STACK
from harness.stack.docker.removal import left
from harness.stack.docker.services import DECLARED
from harness.stack.docker.stack import DockerStack
from harness.stack.runtime import down, find_running, list_running, up
from harness.telemetry.targets import await_targets

ROOT = Path(__file__).parent.parent.parent
WAIT = 120.0
SIZE = 160 << 20

WHOLE = f"""\
apiVersion: harness/v1
kind: Stack
metadata: {{name: whole}}
spec:
  services:
    db: {{use: postgres, disk: {SIZE >> 20}MiB, timeout: 240s}}
    cache: {{use: redis, timeout: 240s}}
    milvus: {{use: milvus, timeout: 240s}}
    prometheus: {{use: prometheus, config: prometheus.yml, timeout: 240s}}
    alertmanager: {{use: alertmanager, config: {ROOT}/monitoring/alertmanager/alertmanager.yml, timeout: 240s}}
    notifications: {{use: webhook-sink}}
    db-exporter: {{use: postgres-exporter, config: {ROOT}/monitoring/postgres-exporter/queries.yml, timeout: 240s}}
    cache-exporter: {{use: redis-exporter, timeout: 240s}}
    loki: {{use: loki, config: {ROOT}/monitoring/loki/loki.yaml, timeout: 240s}}
    web:
      command: [python, {ROOT}/tests/docker/exporting.py, "${{address:web.http}}"]
      ports: [http]
      metrics: {{port: http}}
  scrape:
    db: db-exporter.http
    cache: cache-exporter.http
    milvus: milvus.metrics
    loki: loki.http
    alertmanager: alertmanager.http
    prometheus: prometheus.http
    web: web.http
  target: web.http
"""
PROMETHEUS = """\
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [rules/*.yml]
scrape_configs:
  [{job_name: db}, {job_name: cache}, {job_name: milvus}, {job_name: loki}, {job_name: alertmanager},
   {job_name: prometheus}, {job_name: web}]
"""
RULES = "groups: [{name: all, rules: [{alert: CacheDown, expr: redis_up == 0, labels: {severity: critical}}]}]\n"
SMALL = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: small}
spec:
  services:
    cache: {use: redis, timeout: 240s}
    traces: {use: otlp-sink}
  links: {web->cache: {to: cache.resp}}
  target: cache.resp
"""


@pytest.fixture(scope="module")
def told() -> list[Event]:
    """What bringing the stack up told."""
    return []


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, told: list[Event]) -> Iterator[DockerStack]:
    directory = tmp_path_factory.mktemp("whole")
    (directory / "stack.yaml").write_text(WHOLE)
    (directory / "prometheus.yml").write_text(PROMETHEUS)
    (directory / "rules").mkdir()
    (directory / "rules/all.yml").write_text(RULES)
    with up(directory / "stack.yaml", lease=True, emit=told.append, runtime="docker") as running:
        yield cast(DockerStack, running)


@pytest.fixture(autouse=True)
def whole(request: pytest.FixtureRequest) -> None:
    """Each test on the stack finds everything running, whatever became of the one before."""
    if "stack" in request.fixturenames:
        stack = request.getfixturevalue("stack")
        for one in stack.services():
            if one.state != "healthy":
                stack.start_service(one.name)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "stack.yaml").write_text(SMALL)
    return tmp_path / "stack.yaml"


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def state_of(stack: DockerStack, name: str) -> tuple[str, int | None]:
    (one,) = [one for one in stack.services() if one.name == name]
    return one.state, one.exit_code


def sql(stack: DockerStack, text: str) -> list[Any]:
    connection = psycopg2.connect(f"postgresql://postgres@{stack.address('db.sql')}/postgres")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def targets(stack: DockerStack) -> dict[str, str]:
    """Job -> the URL that is scraped."""
    reply = requests.get(f"http://{stack.address('prometheus.http')}/api/v1/targets", timeout=5).json()
    return {one["labels"]["job"]: one["scrapeUrl"] for one in reply["data"]["activeTargets"]}


def test_every_service_is_healthy_and_says_its_version(stack: DockerStack, told: list[Event]) -> None:
    assert {one.state for one in stack.services()} == {"healthy"}
    versions = {one.name: one.version for one in stack.services()}
    for name, service in stack.file.spec.services.items():
        assert (service.use in DECLARED) == versions[name][:1].isdigit(), versions
    assert stack.healthy() and stack.died() == []
    healthy = [one.service for one in told if isinstance(one, StackEvent) and one.state == "healthy"]
    assert set(healthy) == {*stack.file.spec.services, "links", "relay"} - {"links"}
    assert healthy.index("db") < healthy.index("db-exporter")


def test_prometheus_sees_every_target_in_containers_and_on_this_machine(stack: DockerStack) -> None:
    await_targets(f"http://{stack.address('prometheus.http')}", stack.scrape())
    seen = targets(stack)
    assert seen["db"] == "http://db-exporter:9187/metrics"
    port = stack.address("web.http").rpartition(":")[2]
    assert seen["web"] == f"http://host.docker.internal:{port}/metrics"


def test_each_container_is_of_the_image_that_the_compose_file_names_and_is_told_so(stack: DockerStack) -> None:
    for name, one in stack.images.items():
        assert one["image"] == image_of(str(stack.file.spec.services[name].use))
        assert one["id"] == stack.engine.call("GET", f"/containers/{stack.container(name)}/json")["Image"]
    assert stack.container("web") is None and set(stack.images) == set(stack.file.spec.services) - {
        "web",
        "notifications",
    }


def test_ports_are_on_the_loopback_alone(stack: DockerStack) -> None:
    for one in stack.engine.containers([f"{STACK}={stack.id}"]):
        assert {port["IP"] for port in one["Ports"] if "IP" in port} <= {"127.0.0.1"}, one["Names"]


def test_the_log_is_what_the_server_wrote_once(stack: DockerStack) -> None:
    before = stack.log_path("cache").read_text().count("Ready to accept connections")
    assert before >= 1
    stack.stop_service("cache")
    assert state_of(stack, "cache") == ("stopped", 0)
    assert "User requested shutdown" in stack.log_tail("cache") or "Received SIGTERM" in stack.log_tail("cache")
    assert not stack.state("cache")["Running"]
    stack.start_service("cache")
    assert stack.log_path("cache").read_text().count("Ready to accept connections") == before + 1
    assert stack.died() == []


def test_a_service_that_is_killed_has_died_and_comes_back_with_its_data(stack: DockerStack) -> None:
    sql(stack, "CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS number")
    sql(stack, "CHECKPOINT")  # commits are not waited for, on any runtime
    stack.signal("db", signal.SIGKILL)
    until(lambda: state_of(stack, "db") == ("exited", -signal.SIGKILL))
    assert not stack.healthy()
    assert [(one.service, one.exit_code) for one in stack.died()][-1] == ("db", -9)
    stack.start_service("db")
    assert sql(stack, "SELECT number FROM kept") == [(7,)]
    assert stack.healthy()


def test_what_the_supervisor_kills_is_killed_in_the_container_too(stack: DockerStack) -> None:
    """As its undo list does, which knows the follower alone."""
    started = stack.engine.call("GET", f"/containers/{stack.container('cache')}/json")["State"]["StartedAt"]
    guard = stack.guard()
    guard.ask("stop", name="cache", signal=int(signal.SIGKILL), grace=0)
    until(lambda: not stack.state("cache")["Running"])
    guard.arm("again", [{"do": "start", "name": "cache", "within": 0.1}])
    guard.undo()
    guard.close()
    until(lambda: stack.is_ready("cache"))
    assert stack.state("cache")["StartedAt"] > started


def test_a_container_that_ends_by_itself_has_died(stack: DockerStack) -> None:
    before = len(stack.died())
    stack.engine.call("POST", f"/containers/{stack.container('cache-exporter')}/kill")
    until(lambda: len(stack.died()) > before)
    assert stack.died()[-1].service == "cache-exporter"


def test_sigstop_holds_a_container_and_sigcont_lets_it_go_on_as_an_undo_too(stack: DockerStack) -> None:
    client = redis.Redis.from_url(f"redis://{stack.address('cache.resp')}/0", socket_timeout=1.0)
    assert client.ping()
    stack.signal("cache", signal.SIGSTOP)
    assert stack.state("cache")["Paused"] and not stack.is_ready("cache")
    with pytest.raises(redis.TimeoutError):
        client.ping()
    assert state_of(stack, "cache") == ("healthy", None)  # it runs
    guard = stack.guard()
    assert guard.ask("stopped", name="cache") == {"stopped": True}
    guard.arm("go on", [{"do": "signal", "name": "cache", "signal": int(signal.SIGCONT), "tree": True}])
    guard.close()  # and nobody asks for it
    until(lambda: not stack.state("cache")["Paused"])
    assert client.ping()
    assert stack.is_ready("cache")


def test_signals_to_one_that_does_not_run_are_refused(stack: DockerStack) -> None:
    stack.stop_service("cache-exporter")
    for signum in (signal.SIGSTOP, signal.SIGKILL, signal.SIGHUP):
        with pytest.raises(HarnessError) as refused:
            stack.signal("cache-exporter", signum)
        assert refused.value.slug == "supervisor-refused"
    stack.start_service("cache-exporter")
    with pytest.raises(UsageError):
        stack.container("nobody")


def test_an_alert_reaches_the_sink_with_the_token_and_nobody_else_does(stack: DockerStack) -> None:
    sink = f"http://{stack.address('notifications.http')}"
    assert requests.post(f"{sink}/notify/x", json={}, timeout=5).status_code == 401
    wrong = {"Authorization": "Bearer guess"}
    assert requests.post(f"{sink}/notify/x", json={}, headers=wrong, timeout=5).status_code == 401
    assert requests.get(f"{sink}/healthz", timeout=5).status_code == 200
    stack.stop_service("cache")
    path = stack.service_dir("notifications") / "notifications.jsonl"
    fired = until(lambda: [line for line in read_jsonl(path) if line["payload"]["status"] == "firing"])
    stack.start_service("cache")
    assert fired[0]["payload"]["alerts"][0]["labels"]["alertname"] == "CacheDown"
    assert fired[0]["payload"]["alerts"][0]["labels"]["stack"] == stack.id


def test_a_configuration_that_is_written_anew_is_seen(stack: DockerStack) -> None:
    directory = stack.service_dir("prometheus")
    assert "milvus" in targets(stack)
    marker = scrape_jobs.marker(directory, "milvus")
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    scrape_jobs.write_config(directory)
    stack.signal("prometheus", signal.SIGHUP)
    until(lambda: "milvus" not in targets(stack))
    marker.unlink()
    scrape_jobs.write_config(directory)
    stack.signal("prometheus", signal.SIGHUP)
    until(lambda: "milvus" in targets(stack))


def test_loki_takes_a_line_and_gives_it_back(stack: DockerStack) -> None:
    base, now = f"http://{stack.address('loki.http')}/loki/api/v1", time.time_ns()
    stream = {"stream": {"service": "x"}, "values": [[str(now), "one line"]]}
    assert requests.post(f"{base}/push", json={"streams": [stream]}, timeout=5).status_code == 204
    asked = {"query": '{service="x"}', "start": str(now - 10**9), "end": str(now + 10**9)}
    found = until(
        lambda: requests.get(f"{base}/query_range", params=asked, timeout=5).json().get("data", {}).get("result")
    )
    assert found[0]["values"][0][1] == "one line"


def test_a_disk_has_its_size(stack: DockerStack) -> None:
    with pytest.raises(psycopg2.errors.DiskFull):
        sql(stack, "CREATE UNLOGGED TABLE big AS SELECT repeat(md5(i::text), 60) FROM generate_series(1, 200000) i")
    assert sql(stack, "SELECT 1") == [(1,)]


def test_memory_is_counted_of_containers_and_processes(stack: DockerStack) -> None:
    used = stack.rss_bytes()
    assert set(used) >= {*stack.file.spec.services, "relay", "supervisor"}
    assert used["milvus"] > used["cache"] > 1 << 20


def test_a_stack_that_ends_leaves_nothing(small: Path) -> None:
    events: list[Event] = []
    engine = Engine.find()
    with up(small, lease=True, emit=events.append, runtime="docker") as running:
        names = left(engine, running.id)
        assert {name.partition(" ")[0] for name in names} == {"container", "network"}
        assert running.is_ready("cache")
        directory = running.directory
        assert redis.Redis.from_url(f"redis://{running.link('web->cache')}/0").ping()
        assert find_running(small) is None  # it hangs on us
        running.signal("cache", signal.SIGSTOP)  # and a paused one is in nobody's way
    assert left(engine, running.id) == []
    assert not directory.exists()


def test_one_that_stays_is_found_again_on_its_runtime_and_taken_down(small: Path) -> None:
    engine = Engine.find()
    first = up(small, lease=False, emit=lambda _: None, runtime="docker")
    try:
        first.close()  # it stays all the same
        assert find_running(small, runtime="local") is None
        found = find_running(small)
        assert found is not None and found.id == first.id and found.runtime == "docker"
        assert found.is_ready("cache")
        again = up(small, lease=True, emit=lambda _: None, runtime="docker")
        assert again.reused and again.id == first.id
        again.close()
        assert first.id in [one.id for one in list_running()]
        assert found.address("cache.resp") == first.address("cache.resp")
    finally:
        down(first.id)
    assert left(engine, first.id) == []
    assert first.id not in [one.id for one in list_running()]


def test_where_the_reapers_image_is_not_to_be_had_the_guardian_does_without(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testcontainers_config, "_ryuk_disabled", False)
    with up(small, lease=True, emit=lambda _: None, runtime="docker") as running:
        assert testcontainers_config.ryuk_disabled
        assert running.is_ready("cache")
    assert left(Engine.find(), running.id) == []


def test_the_environment_of_stack_yaml_reaches_the_container(small: Path) -> None:
    text = small.read_text().replace("{use: redis,", "{use: redis, env: {WORD: '${address:traces.http}', MINE: a},")
    small.write_text(text)
    with up(small, lease=True, emit=lambda _: None, overrides={"cache": {"MINE": "b"}}, runtime="docker") as running:
        stack = cast(DockerStack, running)
        (one,) = stack.engine.containers([f"{STACK}={stack.id}", f"{SERVICE}=cache"])
        env = stack.engine.call("GET", f"/containers/{one['Id']}/json")["Config"]["Env"]
        port = stack.address("traces.http").rpartition(":")[2]
        assert {f"WORD=host.docker.internal:{port}", "MINE=b"} <= set(env)


def test_a_container_that_does_not_come_up_fails_the_stack_with_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(
        "apiVersion: harness/v1\nkind: Stack\nmetadata: {name: broken}\n"
        "spec: {services: {p: {use: prometheus, config: p.yml, timeout: 240s}}, target: p.http}\n"
    )
    (tmp_path / "p.yml").write_text("rule_files: [r.yml]\nscrape_configs: []\n")
    (tmp_path / "r.yml").write_text("groups: [{name: x, rules: [{record: 'no name', expr: '1 +'}]}]\n")
    before = {one["Id"] for one in Engine.find().containers([STACK])}
    with pytest.raises(HarnessError) as failed:
        up(tmp_path / "stack.yaml", lease=True, emit=lambda _: None, runtime="docker")
    assert failed.value.slug == "service-failed"
    assert "ended with exit code" in failed.value.cause and "000-r.yml" in failed.value.cause
    assert {one["Id"] for one in Engine.find().containers([STACK])} <= before
