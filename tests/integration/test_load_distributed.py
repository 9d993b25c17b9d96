"""Workers that could be on other machines: what they tell arrives whole, whatever gets lost on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harness.core.errors import HarnessError
from harness.core.jsonio import read_json
from harness.load.engine import LoadEngine
from harness.load.remote import CLOCKS_EVIDENCE, RemoteCrew
from harness.model.load import LoadPlan
from harness.model.takeover import DEATHS_EVIDENCE
from harness.results.rundir import RunDir
from harness.results.samples import load_samples
from harness.slo.conditions import judge_generator
from tests.integration.driven import to_the_end
from tests.integration.load_target import Target, eventually, load_target
from tests.integration.lossy_relay import LossyRelay
from tests.integration.test_load_deaths import LATENESS, SCENARIO, SECOND

PATIENCE = 60.0


@pytest.fixture
def target() -> Iterator[Target]:
    with load_target() as found:
        yield found


@contextmanager
def agents(count: int, port: int, project: Path) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "harness.cli.main", "load", "--worker", "--master-port", str(port)]
    command += ["--project", str(project), "--expect-workers-max-wait", str(PATIENCE)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        yield started
    finally:
        for one in started:
            one.kill()
            one.communicate()


def master(
    tmp_path: Path, host: str, workers: int, *, rebalance: bool = False, seconds: int = 4, rate: float = 300.0
) -> tuple[LoadEngine, RemoteCrew, RunDir]:
    (tmp_path / "scenarios").mkdir()
    (scenario := tmp_path / "scenarios" / "scenario.py").write_text(SCENARIO)
    plan = LoadPlan(str(scenario), rate, 0, seconds * SECOND, host, workers=workers, users=400, rebalance=rebalance)
    run = RunDir.create(tmp_path / "results", "distributed")
    crew = RemoteCrew(run, "127.0.0.1", 0, PATIENCE)
    return LoadEngine(plan, run, crew), crew, run


def port_of(crew: RemoteCrew) -> int:
    return int(crew.address.rpartition(":")[2])


def child_of(agent: subprocess.Popen[str]) -> int:
    (child,) = psutil.Process(agent.pid).children()
    return child.pid


@pytest.mark.parametrize(("lose", "repeat", "never"), [(0.0, 0.0, ""), (0.3, 0.3, ""), (0.0, 0.0, "quit")])
def test_all_that_workers_did_arrives_whatever_gets_lost(
    target: Target, tmp_path: Path, lose: float, repeat: float, never: str
) -> None:
    engine, crew, run = master(tmp_path, target.host, 2)
    relay = LossyRelay(crew.address, 1, lose, repeat, never)
    try:
        with agents(2, relay.port, tmp_path) as started:
            ticks = to_the_end(engine)
            codes = [one.wait(PATIENCE) for one in started]
    finally:
        relay.close()
    samples = load_samples(run.load)
    assert [(worker.name, worker.complete, worker.reason) for worker in samples.workers] == [
        ("load-0", True, ""), ("load-1", True, ""),
    ]  # fmt: skip
    counts = samples.counts("call")
    assert samples.arrivals.started == counts.sent == counts.outcomes["ok"] == target.counts()["/ok"] == 1200
    assert len(ticks) >= 4 and ticks[-1].done == 1200 and codes == [0, 0]
    assert judge_generator(samples, LATENESS, 2).outcome.name == "PASS"
    assert (relay.lost > 20 and relay.repeated > 20) == (lose > 0)
    for clock in read_json(run.path / CLOCKS_EVIDENCE).values():  # it is one machine, so there is no difference
        assert 0 < clock["error_ns"] < SECOND and abs(clock["offset_ns"]) <= clock["error_ns"]


def test_the_loss_of_a_killed_worker_is_named_and_it_is_replaced(target: Target, tmp_path: Path) -> None:
    engine, crew, run = master(tmp_path, target.host, 2, rebalance=True, seconds=8, rate=100.0)
    with agents(2, port_of(crew), tmp_path) as started:
        try:
            engine.prepare()
            engine.start()
            ticks = engine.ticks()
            next(ticks)
            os.kill(child_of(started[0]), signal.SIGKILL)
            list(ticks)
        finally:
            engine.stop()
    samples, deaths = load_samples(run.load), read_json(run.path / DEATHS_EVIDENCE)
    (dead,) = [worker for worker in samples.workers if not worker.complete]
    assert dead.exact and dead.lost > 0 and "killed by SIGKILL (on " in deaths["died"][0]["how"]
    assert eventually(lambda: 0 <= target.counts()["/ok"] - samples.counts("call").sent <= 1)
    assert samples.arrivals.scheduled + dead.lost_arrivals == deaths["planned"] == 800
    assert judge_generator(samples, LATENESS, 2, deaths).outcome.name == "PASS"


def test_a_machine_that_vanishes_is_an_error_though_others_took_over(target: Target, tmp_path: Path) -> None:
    """What it sent after its last heartbeat nobody knows."""
    engine, crew, run = master(tmp_path, target.host, 2, rebalance=True, seconds=9)
    with agents(2, port_of(crew), tmp_path) as started:
        try:
            engine.prepare()
            engine.start()
            ticks = engine.ticks()
            next(ticks)
            started[0].kill()
            list(ticks)
        finally:
            engine.stop()
    samples, deaths = load_samples(run.load), read_json(run.path / DEATHS_EVIDENCE)
    (dead,) = [worker for worker in samples.workers if not worker.complete]
    assert not dead.exact and "at least" in dead.reason
    assert "nothing has been heard of it" in deaths["died"][0]["how"]
    finding = judge_generator(samples, LATENESS, 2, deaths)
    assert finding.slug == "worker-incomplete" and dead.reason in finding.reason


def test_without_rebalancing_a_dead_worker_ends_the_run(target: Target, tmp_path: Path) -> None:
    engine, crew, _ = master(tmp_path, target.host, 2)
    with agents(2, port_of(crew), tmp_path) as started:
        try:
            engine.prepare()
            engine.start()
            ticks = engine.ticks()
            next(ticks)
            os.kill(child_of(started[0]), signal.SIGKILL)
            with pytest.raises(HarnessError) as caught:
                list(ticks)
        finally:
            engine.stop()
        assert [one.wait(PATIENCE) for one in started] == [0, 0]
    assert caught.value.slug == "worker-died" and "requests that it sent are in no record" in caught.value.cause


def test_a_worker_with_another_scenario_is_refused(tmp_path: Path) -> None:
    engine, crew, _ = master(tmp_path, "http://127.0.0.1:1", 1)
    (other := tmp_path / "other" / "scenarios").mkdir(parents=True)
    (other / "scenario.py").write_text(SCENARIO + "# changed\n")
    with agents(1, port_of(crew), other.parent):
        with pytest.raises(HarnessError) as caught:
            engine.prepare()
        engine.stop()
    assert caught.value.slug == "worker-failed" and "is not the master's" in caught.value.cause


def test_one_worker_too_many_is_told_so(target: Target, tmp_path: Path) -> None:
    engine, crew, _ = master(tmp_path, target.host, 1)
    with agents(2, port_of(crew), tmp_path) as started:
        to_the_end(engine)
        codes = sorted(one.wait(PATIENCE) for one in started)
        told = "".join(one.stderr.read() for one in started if one.stderr is not None)
    assert codes == [0, 4] and "1 load workers have come already" in told


def test_workers_that_do_not_come_are_missed(tmp_path: Path) -> None:
    engine, crew, _ = master(tmp_path, "http://127.0.0.1:1", 2)
    crew._patience = 0.2
    with pytest.raises(HarnessError) as caught:
        engine.prepare()
    engine.stop()
    assert caught.value.slug == "workers-missing" and "0 of 2" in caught.value.cause


def test_a_worker_whose_master_is_not_there_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.cli.main", "load", "--worker", "--master-port", "1"]
    ended = subprocess.run([*command, "--expect-workers-max-wait", "1"], capture_output=True, text=True, check=False)
    assert ended.returncode == 4 and "master-lost" in ended.stderr
