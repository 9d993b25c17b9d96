"""What removes a stack's containers: the guardian when the supervisor has ended, the sweep when the owner has. Against
an engine as far as its protocol goes; tests/docker has a real one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.stack.docker.engine import Engine
from harness.stack.docker.guardian import Guardian
from harness.stack.docker.hosts import Host
from harness.stack.docker.labels import OWNER, STACK, labels
from harness.stack.docker.removal import left, remove_stack, sweep
from tests.fake_engine import FakeEngine, fake_engine


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        yield engine


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as started:
        yield started


def fill(fake: FakeEngine, told: dict[str, str]) -> None:
    stack = told[STACK]
    fake.things["containers"] += [{"Id": f"{stack}-c{number}", "Labels": told} for number in range(3)]
    fake.things["networks"].append({"Id": f"{stack}-n", "Labels": told})
    fake.things["volumes"].append({"Name": f"{stack}-v", "Labels": told})


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_guardian_removes_one_stack_when_its_supervisor_is_killed(
    fake: FakeEngine, process: subprocess.Popen[bytes]
) -> None:
    guardian = Guardian("one", process.pid, sys.executable)
    fill(fake, labels("one"))
    fill(fake, labels("two"))
    engine = Engine(Host(fake.url))
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as gone:
        gone.wait()
    Guardian("three", gone.pid, sys.executable).close()
    assert len(left(engine, "one")) == 5  # it waits, while another has lived its whole life
    process.kill()
    guardian.close()
    guardian.close()
    assert left(engine, "one") == [] and len(left(engine, "two")) == 5


def test_the_guardian_outlives_whoever_started_it_and_takes_what_was_still_being_made(
    fake: FakeEngine, process: subprocess.Popen[bytes]
) -> None:
    code = (
        "import sys; from harness.stack.docker.guardian import Guardian; "
        "Guardian('one', int(sys.argv[1]), sys.executable); import os; os.kill(os.getpid(), 9)"
    )
    fill(fake, labels("one"))
    killed = subprocess.run([sys.executable, "-c", code, str(process.pid)], timeout=60, check=False)
    engine = Engine(Host(fake.url))
    assert killed.returncode == -9 and len(left(engine, "one")) == 5
    process.kill()
    wait_for(lambda: not left(engine, "one"))
    looks = len(fake.asked)
    wait_for(lambda: len(fake.asked) > looks + 6)  # it has seen more than once that nothing is left
    fill(fake, labels("one"))  # a request that was under way
    wait_for(lambda: not left(engine, "one"))


def test_a_supervisor_that_is_gone_at_once_is_no_reason_to_wait(
    fake: FakeEngine, process: subprocess.Popen[bytes]
) -> None:
    fill(fake, labels("one"))
    process.communicate()
    Guardian("one", process.pid, sys.executable).close()
    assert left(Engine(Host(fake.url)), "one") == []


def test_a_guardian_that_cannot_start_is_told(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://elsewhere")
    with pytest.raises(HarnessError, match="ssh://elsewhere") as raised:
        Guardian("one", 1, sys.executable)
    assert raised.value.slug == "guardian-failed"


def test_what_an_engine_does_not_remove_is_named(fake: FakeEngine) -> None:
    fake.things["networks"].append({"Id": "n", "Labels": labels("one")})
    fake.answers["DELETE", "/networks/n"] = (403, {"message": "has active endpoints"})
    with pytest.raises(HarnessError, match=r"network n.*active endpoints") as raised:
        remove_stack(Engine(Host(fake.url)), "one", patience=0.3)
    assert raised.value.slug == "stack-lingers"


def test_a_sweep_takes_the_stacks_of_dead_owners_and_no_other(
    fake: FakeEngine, process: subprocess.Popen[bytes]
) -> None:
    dead = labels("dead", process.pid)
    process.communicate()
    elsewhere = {STACK: "elsewhere", OWNER: "1:1:another-boot/1"}
    fill(fake, dead)
    fill(fake, labels("alive"))
    fill(fake, elsewhere)
    fill(fake, {STACK: "unknown"})
    fill(fake, dead | {STACK: "mixed"})
    fake.things["volumes"].append({"Name": "of a living one", "Labels": labels("mixed")})
    engine = Engine(Host(fake.url))
    assert sweep(engine) == ["dead"]
    assert {one["Labels"][STACK] for one in engine.containers([STACK])} == {"alive", "elsewhere", "unknown", "mixed"}
    assert sweep(engine) == []
