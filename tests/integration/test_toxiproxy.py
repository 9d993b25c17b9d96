"""Link faults through a real toxiproxy in front of a real Redis, and that it forgets them whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import requests

from harness.core.errors import HarnessError, UsageError
from harness.faults import (
    Bandwidth,
    Blackhole,
    ConnectionLimit,
    Corrupt,
    HalfOpen,
    Latency,
    LinkFault,
    Reset,
    SlowClose,
)
from harness.faults.registry import FAULTS
from harness.faults.toxiproxy import VARIABLE, Toxic
from harness.faults.waiting import wait_for
from harness.model.events import Event, FaultEvent
from harness.model.stackfile import load_stackfile
from harness.stack.links import Links
from harness.stack.runtime import up
from tests.integration.toxiproxy_server import toxiproxy

pytestmark = pytest.mark.stack

TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: behind-toxiproxy}
spec:
  services: {redis: {use: redis}}
  target: redis.resp
"""
LINK, NOBODY = "app->redis", "app->nobody"
PATIENCE = 20.0
LINKS = Links(Path("/nowhere"), {LINK: 1, NOBODY: 1, "app->unknown": 1})  # the harness's own proxy is not asked


@dataclass
class There:
    url: str
    port: int

    def toxics(self, link: str = LINK) -> list[str]:
        reply = requests.get(f"{self.url}/proxies/{quote(link, safe='')}/toxics", timeout=5)
        return [one["type"] for one in reply.json()]

    def client(self) -> redis.Redis:
        return redis.Redis("127.0.0.1", self.port, socket_timeout=0.5, socket_connect_timeout=5, retry=None)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    directory = tmp_path_factory.mktemp("toxiproxy")
    (directory / "stack.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(directory / "state"))
        with up(directory / "stack.yaml", lease=True, emit=lambda _: None) as stack:
            port = int(stack.address("redis.resp").split(":")[1])
            with toxiproxy({LINK: port, NOBODY: 9}) as (url, near):
                patch.setenv(VARIABLE, url)
                yield There(url, near[LINK])


EACH: list[tuple[LinkFault, str]] = [
    (Latency(LINKS, LINK, "80ms", jitter="20ms"), "an answer took"),
    (Latency(LINKS, LINK, "30ms", direction="both"), "an answer took"),
    (Latency(LINKS, LINK, "1m", direction="up"), "no answer came"),
    (Blackhole(LINKS, LINK), "no answer came"),
    (Blackhole(LINKS, LINK, direction="down"), "no answer came"),
    (Reset(LINKS, LINK), "got RST"),
    (Bandwidth(LINKS, LINK, 50_000), "lists it"),
    (SlowClose(LINKS, LINK, "100ms"), "lists it"),
]


@pytest.mark.parametrize(("fault", "seen"), EACH, ids=lambda one: getattr(one, "name", ""))
def test_each_is_listed_seen_told_and_undone(there: There, fault: LinkFault, seen: str) -> None:
    told: list[Event] = []
    fault._emit = told.append
    with fault:
        assert len(there.toxics()) == (2 if fault.direction == "both" else 1)
    assert there.toxics() == []
    assert there.client().ping()
    begin, end = told
    assert isinstance(begin, FaultEvent) and isinstance(end, FaultEvent)
    assert seen in begin.how and "does not list it, and what is behind it answers" in end.how


def test_a_client_of_redis_sees_a_blackhole_and_a_reset_and_their_end(there: There) -> None:
    client = there.client()
    assert client.set("key", "value")
    with Blackhole(LINKS, LINK), pytest.raises(redis.exceptions.TimeoutError):
        client.get("key")
    assert client.get("key") == b"value"
    with Reset(LINKS, LINK), pytest.raises(redis.exceptions.ConnectionError):
        client.get("key")
    assert client.get("key") == b"value"


def test_an_exception_undoes_it(there: There) -> None:
    with pytest.raises(ZeroDivisionError), Latency(LINKS, LINK, "50ms"):
        _ = 1 // 0
    assert there.toxics() == []


CHILD = f"""
import signal
from pathlib import Path
from harness.faults import Blackhole
from harness.model.stackfile import load_stackfile
from harness.stack.links import Links
with Blackhole(Links(Path("/nowhere"), {{{LINK!r}: 1}}), {LINK!r}):
    print("in force", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT], ids=lambda signum: signum.name)
def test_toxiproxy_forgets_the_fault_of_a_process_that_is_gone(there: There, signum: signal.Signals) -> None:
    argv = [sys.executable, "-c", CHILD]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as child:
        assert child.stdout is not None and child.stdout.readline() == b"in force\n"
        assert there.toxics() == ["timeout", "timeout"]
        os.killpg(child.pid, signum)  # as a terminal does: to all of its session
        child.wait(PATIENCE)
    assert wait_for(lambda: there.toxics() == [], PATIENCE)
    assert there.client().ping()


def test_it_ends_by_itself_after_its_time(there: There) -> None:
    told: list[Event] = []
    with Latency(LINKS, LINK, "20ms", lasting="300ms", emit=told.append):
        assert wait_for(lambda: there.toxics() == [], PATIENCE)
    end = told[-1]
    assert isinstance(end, FaultEvent) and end.how.startswith("it had ended by itself")


# errors


@pytest.mark.parametrize("fault", [
    Corrupt(LINKS, LINK, 1e-3), HalfOpen(LINKS, LINK), ConnectionLimit(LINKS, LINK, 3), Reset(LINKS, LINK, new=False),
], ids=lambda one: one.name)  # fmt: skip
def test_what_toxiproxy_cannot_do_is_not_validated(there: There, fault: LinkFault) -> None:
    with pytest.raises(HarnessError) as raised:
        fault.begin()
    assert (raised.value.slug, raised.value.outcome.value) == ("fault-unsupported", "not-validated")


def test_the_list_of_faults_says_what_it_cannot_do(there: There) -> None:
    file, _ = load_stackfile(Path(__file__).parents[2] / "stack.yaml")
    without = {name for name, one in FAULTS.items() if one.kind == "link" and one.lacking(file, LINK, {})}
    assert without == {"corrupt", "half-open", "connection-limit"}


@pytest.mark.parametrize(("fault", "slug"), [
    (Latency(LINKS, LINK, "1500us"), "fault-parameter"),
    (Latency(LINKS, LINK, "5ms", jitter="6ms"), "fault-parameter"),
    (Bandwidth(LINKS, LINK, 1500), "fault-parameter"),
    (Blackhole(LINKS, "app->unknown"), "link-unknown"),
])  # fmt: skip
def test_what_cannot_be_is_refused(there: There, fault: LinkFault, slug: str) -> None:
    with pytest.raises(UsageError) as raised:
        fault.begin()
    assert raised.value.slug == slug
    assert there.toxics() == []


def test_one_without_an_effect_is_an_error_and_nothing_is_left(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Toxic("latency", {"latency": 0, "jitter": 0}, 0.05, 0.05)
    monkeypatch.setattr(Latency, "toxic", lambda _: nothing)
    with pytest.raises(HarnessError) as raised:
        Latency(LINKS, LINK, "50ms").begin()
    assert raised.value.slug == "fault-without-effect"
    assert there.toxics() == []


def test_one_that_somebody_else_deleted_is_an_error(there: There) -> None:
    fault = Latency(LINKS, LINK, "20ms")
    fault.begin()
    requests.post(f"{there.url}/reset", timeout=5).raise_for_status()
    with pytest.raises(HarnessError) as raised:
        fault.end()
    assert raised.value.slug == "fault-without-effect"


def test_where_nobody_answers_the_list_is_all_that_can_be_seen_and_that_is_said(there: There) -> None:
    told: list[Event] = []
    with Blackhole(LINKS, NOBODY, emit=told.append):
        assert there.toxics(NOBODY) == ["timeout", "timeout"]
    begin = told[0]
    assert isinstance(begin, FaultEvent) and "answers no question of ours" in begin.how


@pytest.mark.parametrize(("value", "slug"), [
    ("http://127.0.0.1:9", "toxiproxy-lost"),
    ("127.0.0.1:8474", "toxiproxy-address"),
    ("http://127.0.0.1", "toxiproxy-address"),
    ("http://127.0.0.1:8474/x", "toxiproxy-address"),
    ("http://127.0.0.1:99999", "toxiproxy-address"),
    ("https://127.0.0.1:8474", "toxiproxy-address"),
])  # fmt: skip
def test_a_server_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, value: str, slug: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(HarnessError) as raised:
        Blackhole(LINKS, LINK).begin()
    assert raised.value.slug == slug
