"""The local runtime on real services: what comes up, who dies, what is reused, what each failure says."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
import requests

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.core.paths import cache_dir
from harness.model.events import Event, StackEvent
from harness.stack.handle import SUPERVISOR, Stack
from harness.stack.isolation import VARIABLE, best_isolation
from harness.stack.runtime import down, find_running, list_running, up
from harness.stack.services import postgres
from harness.stack.sweep import live_stacks
from harness.telemetry.targets import await_targets

pytestmark = pytest.mark.stack

HEAD = "apiVersion: harness/v1\nkind: Stack\nmetadata: {name: tiny}\nspec:\n"
WEB = """\
    web:
      command: [python, -c, "import http.server as h, os, sys; print(os.environ['WORD'], flush=True);
        h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')", "${port:web.http}"]
      ports: [http]
      ready: {http: "http://${address:web.http}/"}
      metrics: {port: http, path: /numbers}
      needs: [redis]
      env: {WORD: one}
"""
LINK = "  links:\n    web->redis: {to: redis.resp}\n"
TINY = f"{HEAD}  services:\n    redis: {{use: redis}}\n{WEB}{LINK}  target: web.http\n"
FULL = f"""\
{HEAD}  timeScale: 15
  services:
    postgres: {{use: postgres}}
    redis: {{use: redis}}
    milvus: {{use: milvus}}
    prometheus: {{use: prometheus}}
  links:
    x->postgres: {{to: postgres.sql}}
  scrape: {{prometheus: prometheus.http, milvus: milvus.metrics}}
  target: milvus.grpc
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks of a test are seen by that test alone, and none is left by it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def write(directory: Path, text: str) -> Path:
    path = directory / "stack.yaml"
    path.write_text(text)
    return path


def start(directory: Path, text: str, **options: object) -> Stack:
    chosen = {"lease": True, "emit": lambda _: None, **options}
    return up(write(directory, text), **chosen)  # type: ignore[arg-type]


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def ping(address: str) -> bytes:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)


def test_two_stacks_with_milvus_side_by_side(tmp_path: Path) -> None:
    events: list[Event] = []
    with start(tmp_path, FULL, emit=events.append) as first, start(tmp_path, FULL) as second:
        for stack in (first, second):
            assert {one.state for one in stack.services()} == {"healthy"}
            versions = {one.name: one.version for one in stack.services()}
            assert all(version[:1].isdigit() for version in versions.values()), versions
            wanted = {job: stack.address(ref) for job, ref in stack.file.spec.scrape.items()}
            await_targets(f"http://{stack.address('prometheus.http')}", wanted)
            host, port = stack.link("x->postgres").split(":")
            with psycopg2.connect(host=host, port=port, user="postgres", dbname="postgres") as connection:
                cursor = connection.cursor()
                cursor.execute("show data_directory")
                assert cursor.fetchone() == (str(stack.service_dir("postgres") / "data"),)
            connection.close()
            assert requests.get(stack.metrics_url("milvus"), timeout=5).ok
            resident = stack.rss_bytes()
            assert resident.keys() == {"postgres", "redis", "milvus", "prometheus", "links", SUPERVISOR}
            assert all(1 << 20 < used < 1 << 30 for used in resident.values()), resident
            assert stack.died() == []
        addresses = [{address for one in stack.services() for address in one.addresses} for stack in (first, second)]
        assert not addresses[0] & addresses[1]
        # PostgreSQL as root runs as somebody else, and nobody else's process is meant by a pid
        for one in first.services():
            assert one.pid is not None
            assert one.name[:5] in Path(f"/proc/{one.pid}/cmdline").read_text()
    assert live_stacks() == []
    told = [event for event in events if isinstance(event, StackEvent)]
    assert [one.service for one in told if one.state == "healthy"][-1] in ("milvus", "postgres")
    assert (told[-1].service, told[-1].state) == ("tiny", "ready")
    assert told[-1].seconds >= max(one.seconds for one in told)


def test_missing_down_and_unexpected_targets_are_named(tmp_path: Path) -> None:
    text = f"{HEAD}  timeScale: 15\n  services:\n    redis: {{use: redis}}\n    prometheus: {{use: prometheus}}\n"
    text += "  scrape: {cache: redis.resp, self: prometheus.http}\n  target: redis.resp\n"
    with start(tmp_path, text) as stack:
        url, address = f"http://{stack.address('prometheus.http')}", stack.address("prometheus.http")
        with pytest.raises(HarnessError) as wrong:
            await_targets(url, {"cache": stack.address("redis.resp"), "milvus": "127.0.0.1:1"}, deadline=9)
        assert wrong.value.slug == "targets-missing"
        assert "milvus (127.0.0.1:1) is missing" in wrong.value.cause
        assert f"self ({address}) is not expected" in wrong.value.cause
        assert f"cache ({stack.address('redis.resp')}) is down: " in wrong.value.cause
    with pytest.raises(HarnessError) as gone:
        await_targets(url, {"self": address}, deadline=0.1)
    assert "no list of targets" in gone.value.cause


@pytest.mark.skipif(os.geteuid() != 0, reason="only for root does PostgreSQL need another user")
def test_postgres_runs_as_nobody_where_user_namespaces_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "user_namespaces", lambda: False)
    monkeypatch.setenv(VARIABLE, "subreaper")
    best_isolation.cache_clear()
    own_cache(tmp_path, monkeypatch)
    text = f"{HEAD}  services: {{postgres: {{use: postgres}}}}\n  target: postgres.sql\n"
    try:
        for _ in range(2):  # initialised, then from the cache
            with start(tmp_path, text) as stack:
                (one,) = stack.services()
                assert (one.state, Path(f"/proc/{one.pid}").stat().st_uid) == ("healthy", 65534)
                assert stack.isolation == "subreaper"
            assert live_stacks() == []
    finally:
        best_isolation.cache_clear()


def test_a_service_that_dies_is_told_with_how_and_its_last_lines(tmp_path: Path) -> None:
    with start(tmp_path, TINY) as stack:
        assert ping(stack.link("web->redis")) == b"+PONG\r\n"
        stack.signal("redis", signal.SIGKILL)
        until(stack.died)
        (died,) = stack.died()
        assert (died.service, died.how, died.exit_code) == ("redis", "was killed by SIGKILL", -9)
        assert "Ready to accept connections" in died.log
        states = {one.name: one.state for one in stack.services()}
        assert states == {"redis": "exited", "web": "healthy"}
        assert not stack.healthy()
        with pytest.raises(ConnectionResetError):
            ping(stack.link("web->redis"))
        with pytest.raises(HarnessError) as refused:
            stack.signal("redis", signal.SIGTERM)
        assert refused.value.slug == "supervisor-refused"


def test_a_service_that_is_stopped_and_started_did_not_die(tmp_path: Path) -> None:
    with start(tmp_path, TINY) as stack:
        address = stack.address("redis.resp")
        stack.stop_service("redis")
        assert {one.name: one.state for one in stack.services()}["redis"] == "stopped"
        with pytest.raises(ConnectionRefusedError):
            ping(address)
        stack.start_service("redis")
        assert ping(address) == b"+PONG\r\n"
        assert stack.died() == []
        assert stack.healthy()
        assert {one.name: one.restarts for one in stack.services()} == {"redis": 1, "web": 0}


def test_a_lost_supervisor_is_told_and_nothing_hangs(tmp_path: Path) -> None:
    with start(tmp_path, TINY) as stack:
        os.kill(stack._control.supervisor_pid, signal.SIGKILL)
        until(lambda: not stack.directory.exists())
        (died,) = stack.died()
        assert died.service == SUPERVISOR
        assert {one.state for one in stack.services()} == {"lost"}
        assert stack.rss_bytes() == {}
        with pytest.raises(HarnessError) as lost:
            stack.signal("web", signal.SIGTERM)
        assert lost.value.slug == "stack-lost"


def test_a_stack_that_is_up_is_reused_only_when_it_agrees_and_is_healthy(tmp_path: Path) -> None:
    running = start(tmp_path, TINY, lease=False)
    path = tmp_path / "stack.yaml"
    try:
        running.close()
        assert [one.id for one in list_running()] == [running.id]
        again = up(path, lease=True, emit=lambda _: None)
        assert (again.id, again.reused) == (running.id, True)
        again.close()
        assert find_running(path, {"web": {"WORD": "two"}}) is None
        (tmp_path / "service.py").write_text("")  # code of the project is new
        assert find_running(path) is None
        (tmp_path / "service.py").unlink()
        path.write_text(TINY + "# changed\n")
        assert find_running(path) is None
        path.write_text(TINY)
        found = find_running(path)
        assert found is not None
        found.signal("web", signal.SIGKILL)
        until(found.died)
        found.close()
        assert find_running(path) is None
    finally:
        down(running.id)
    assert live_stacks() == []
    with pytest.raises(HarnessError) as unknown:
        down(running.id)
    assert unknown.value.slug == "stack-unknown"


def test_a_leased_stack_is_nobody_elses(tmp_path: Path) -> None:
    with start(tmp_path, TINY) as stack:
        assert live_stacks() == [stack.directory]
        assert list_running() == []
        assert find_running(tmp_path / "stack.yaml") is None


def test_overrides_reach_the_service_and_beat_the_file(tmp_path: Path) -> None:
    with start(tmp_path, TINY, overrides={"web": {"WORD": "two"}}) as stack:
        assert stack.log_tail("web").startswith("two")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("[sh, -c, 'echo about to fail; exit 7']", ["web ended with exit code 7", "about to fail"]),
        ("[sh, -c, 'echo thinking; sleep 600']", ["web was not ready after 1 s", "thinking"]),
        ("[/no/such/program]", ["/no/such/program"]),
    ],
)
def test_a_service_that_does_not_start_is_named_with_its_last_lines(
    tmp_path: Path, command: str, words: list[str]
) -> None:
    text = f"{HEAD}  services:\n    web: {{command: {command}, ports: [http], timeout: 1s}}\n  target: web.http\n"
    events: list[Event] = []
    with pytest.raises(HarnessError) as failed:
        start(tmp_path, text, emit=events.append)
    assert failed.value.slug == "service-failed"
    for word in words:
        assert word in failed.value.cause
    last = events[-1]
    assert isinstance(last, StackEvent) and (last.service, last.state) == ("web", "failed")
    assert live_stacks() == []


def test_a_service_that_dies_while_others_start_fails_the_start(tmp_path: Path) -> None:
    text = (
        f"{HEAD}  services:\n    redis: {{use: redis}}\n"
        "    killer: {job: [sh, -c, 'kill -9 $(pgrep -P 1 redis-server)'], needs: [redis]}\n"
        "    slow: {job: [sleep, '600'], needs: [killer]}\n  target: redis.resp\n"
    )
    with pytest.raises(HarnessError) as failed:
        start(tmp_path, text)
    assert failed.value.slug == "service-failed"
    assert "redis died while the stack was starting" in failed.value.cause


def test_a_missing_binary_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    events: list[Event] = []
    with pytest.raises(HarnessError) as missing:
        start(tmp_path, f"{HEAD}  services: {{redis: {{use: redis}}}}\n  target: redis.resp\n", emit=events.append)
    assert missing.value.slug == "service-unavailable"
    assert missing.value.outcome is Outcome.NOT_VALIDATED
    assert events == []
    assert not (tmp_path / "state").exists()


def test_a_fixed_port_is_used_and_two_that_want_it_are_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    text = f"{HEAD}  services: {{redis: {{use: redis, ports: {{resp: {port}}}}}}}\n  target: redis.resp\n"
    with start(tmp_path, text) as stack:
        assert stack.address("redis.resp") == f"127.0.0.1:{port}"
        assert ping(f"127.0.0.1:{port}") == b"+PONG\r\n"
        (status,) = stack.services()
        with pytest.raises(HarnessError) as taken:
            start(tmp_path, text, allow_reuse=False)
        assert taken.value.slug == "port-taken"
        assert f"redis-server (process {status.pid})" in taken.value.cause


def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache with the machine's programs and nothing else."""
    tools = cache_dir() / "tools"
    cache = tmp_path / "cache/slo-harness"
    cache.mkdir(parents=True)
    if tools.is_dir():
        (cache / "tools").symlink_to(tools)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))


ARTEFACT = f"""\
{HEAD}  services:
    redis: {{use: redis}}
    reader: {{job: [cat, "${{artefact:data}}/out"]}}
  artefacts:
    data: {{command: [python, -c, "import sys; from pathlib import Path; out = Path(sys.argv[1], 'out');
      out.write_text(Path('in.txt').read_text() * 2); print('built')", "${{dir}}"], inputs: [in.txt]}}
  target: redis.resp
"""


def test_an_artefact_is_built_once_and_again_when_its_input_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache(tmp_path, monkeypatch)
    built = []
    for word in ("ab", "ab", "cd"):
        (tmp_path / "in.txt").write_text(word)
        events: list[Event] = []
        with start(tmp_path, ARTEFACT, emit=events.append) as stack:
            assert (stack.artefact("data") / "out").read_text() == word * 2
            assert stack.log_tail("reader") == word * 2
        built.append(any(isinstance(one, StackEvent) and one.state == "installing" for one in events))
    assert built == [True, False, True]
    assert len(list((tmp_path / "cache/slo-harness/artefacts").glob("data-*"))) == 2
    assert not list((tmp_path / "cache/slo-harness/building").iterdir())


def test_an_artefact_that_cannot_be_built_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache(tmp_path, monkeypatch)
    with pytest.raises(HarnessError) as failed:
        start(tmp_path, ARTEFACT)  # in.txt is an input that is not there
    assert failed.value.slug == "file-missing"
    (tmp_path / "in.txt").write_text("x")
    with pytest.raises(HarnessError) as failed:
        start(tmp_path, ARTEFACT.replace("print('built')", "sys.exit('no luck')"))
    assert failed.value.slug == "artefact-failed"
    assert "no luck" in failed.value.cause
    assert not list((tmp_path / "cache/slo-harness/artefacts").glob("data-*"))
