"""Pytest killed in the middle of a run on containers: nothing stays on the engine, and no other run is disturbed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.jsonio import read_json
from harness.stack.docker.engine import Engine
from harness.stack.docker.labels import OWNER, STACK, labels
from harness.stack.docker.removal import left, sweep
from tests.docker.killing import Run, clean_after, running, things, write
from tests.integration.helpers import DISTURBED

EXPECTED = DISTURBED | {"counter-undeclared"}  # the stack of these runs declares none
GONE = 60.0  # seconds; how fast it is, tests/proofs/docker.py measures
Moment = Callable[[Run, Engine], Callable[[], bool]]


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine, which is empty before and after."""
    engine = Engine.find()
    assert things(engine) == []
    yield engine
    assert things(engine) == []


def a_network_is_there(run: Run, engine: Engine) -> Callable[[], bool]:
    return lambda: bool(engine.networks([STACK]))


def a_container_runs(run: Run, engine: Engine) -> Callable[[], bool]:
    return lambda: any(one["State"] == "running" for one in engine.containers([STACK]))


def the_load_is_under_way(run: Run, engine: Engine) -> Callable[[], bool]:
    return run.said("steady")


@pytest.mark.parametrize(
    ("signum", "moment"),
    [
        (signal.SIGKILL, a_network_is_there),
        (signal.SIGTERM, a_container_runs),
        (signal.SIGINT, the_load_is_under_way),
        (signal.SIGKILL, the_load_is_under_way),
    ],
)
def test_a_killed_pytest_leaves_nothing_on_the_engine(
    engine: Engine, tmp_path: Path, signum: signal.Signals, moment: Moment
) -> None:
    with running(write(tmp_path / "run")) as run:
        run.wait_for(moment(run, engine))
        assert things(engine)
        since = run.kill(signum)
        run.end()
    clean_after(engine, since, GONE)


def test_two_runs_side_by_side_do_not_disturb_each_other_and_one_that_is_killed_takes_only_its_own(
    engine: Engine, tmp_path: Path
) -> None:
    with running(write(tmp_path / "killed")) as killed, running(write(tmp_path / "whole", "15s")) as whole:
        killed.wait_for(lambda: killed.said("steady")() and len(stacks(engine)) == 2)
        whole.wait_for(whole.said("steady"))
        assert len(stacks(engine)) == 2
        killed.kill(signal.SIGKILL)
        killed.end()
        whole.end()
    verdict = read_json(tmp_path / "whole/results/latest/verdict.json")
    wrong = [one for one in verdict["findings"] if one["outcome"] != "pass" and one["slug"] not in EXPECTED]
    assert wrong == [], "".join(whole.lines)
    assert "thresholds/errors{name:ready}/rate<3%" in {one["id"] for one in verdict["findings"]}
    clean_after(engine, 0.0, float("inf"))


def stacks(engine: Engine) -> set[str]:
    return {one["Labels"][STACK] for one in engine.networks([STACK])}


def test_the_next_start_sweeps_what_dead_owners_left_and_nothing_else(engine: Engine, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        dead = labels("dead", process.pid)
        process.communicate()
    others = {"alive": labels("alive"), "elsewhere": {STACK: "elsewhere", OWNER: "1:1:another-boot/1"}}
    for stack, told in {"dead": dead, **others}.items():
        engine.call("POST", "/networks/create", {"Name": f"{stack}-network", "Labels": told})
        engine.call("POST", "/volumes/create", {"Name": f"{stack}-volume", "Labels": told})
    assert sweep(engine) == ["dead"]
    assert left(engine, "dead") == [] and sweep(engine) == []
    for stack in others:
        assert len(left(engine, stack)) == 2
        engine.remove_network(f"{stack}-network")
        engine.remove_volume(f"{stack}-volume")
