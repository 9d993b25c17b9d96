"""Workers killed at random: what they sent is recorded or named as lost, and whoever is left takes over if asked to."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.jsonio import read_json
from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.model.takeover import DEATHS_EVIDENCE
from harness.results.rundir import RunDir
from harness.results.samples import load_samples
from harness.slo.conditions import judge_generator
from tests.integration.load_target import Target, eventually, load_target

SECOND = 1_000_000_000
LATENESS = 60 * SECOND  # this machine may be as slow as it likes here
SCENARIO = """\
from locust import task
from harness.load.users import SloUser

class Caller(SloUser):
    @task
    def call(self):
        self.client.get("/ok", name="call")
"""


@pytest.fixture
def target() -> Iterator[Target]:
    with load_target() as found:
        yield found


def engine_for(
    tmp_path: Path, host: str, *, workers: int, rate: float = 300.0, rebalance: bool = False
) -> tuple[LoadEngine, RunDir]:
    (scenario := tmp_path / "scenario.py").write_text(SCENARIO)
    plan = LoadPlan(str(scenario), rate, 0, 5 * SECOND, host, workers=workers, users=240, rebalance=rebalance)
    run = RunDir.create(tmp_path / "results", "deaths")
    return LoadEngine(plan, run), run


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_a_killed_worker_sent_is_recorded_or_named_as_lost(target: Target, tmp_path: Path, seed: int) -> None:
    drawn = random.Random(seed)
    engine, run = engine_for(tmp_path, target.host, workers=3)
    try:
        engine.prepare()
        engine.start()
        ticks, seen = engine.ticks(), target.counts().get("/ok", 0)
        next(ticks)
        wanted = target.counts()["/ok"] + drawn.randrange(1, 250)
        assert eventually(lambda: target.counts()["/ok"] >= wanted) and seen == 0
        victim = drawn.randrange(3)
        os.kill(engine.pids[victim], signal.SIGKILL)
        with pytest.raises(HarnessError) as caught:
            list(ticks)
    finally:
        engine.stop()
    samples = load_samples(run.load)
    worker = samples.workers[victim]
    assert caught.value.slug == "worker-died" and worker.exact and worker.lost > 0
    assert f"load-{victim}: killed by SIGKILL" in caught.value.cause and worker.reason in caught.value.cause
    assert f"{worker.lost} of the " in worker.reason
    # one request may have left in the instant between the system call and the counter
    counted = samples.counts("call").sent
    assert eventually(lambda: 0 <= target.counts()["/ok"] - counted <= 1)
    recorded = samples.select("sent", {"name": "call"}).count
    assert recorded + sum(one.lost for one in samples.workers) == counted
    finding = judge_generator(samples, LATENESS, 3)
    assert finding.slug == "worker-incomplete" and finding.outcome.name == "ERROR"


@pytest.mark.parametrize("killed", [1, 2])
def test_those_that_are_left_send_the_rest_if_asked_to(target: Target, tmp_path: Path, killed: int) -> None:
    engine, run = engine_for(tmp_path, target.host, workers=3, rate=90.0, rebalance=True)
    try:
        engine.prepare()
        engine.start()
        for number, _ in enumerate(engine.ticks()):
            if number < killed:
                os.kill(engine.pids[number], signal.SIGKILL)
    finally:
        engine.stop()
    samples, deaths = load_samples(run.load), read_json(run.path / DEATHS_EVIDENCE)
    gone = samples.workers[:killed]
    assert [worker.complete for worker in samples.workers] == [False] * killed + [True] * (3 - killed)
    assert [one["worker"] for one in deaths["died"]] == [worker.name for worker in gone]
    assert samples.arrivals.scheduled + sum(worker.lost_arrivals for worker in gone) == deaths["planned"] == 450
    assert eventually(lambda: 0 <= target.counts()["/ok"] - samples.counts("call").sent <= killed)
    assert [worker.unsent for worker in gone] == [0] * killed  # there are users for seconds of arrivals
    finding = judge_generator(samples, LATENESS, 3, deaths)
    assert finding.outcome.name == "PASS" and all(worker.reason in finding.reason for worker in gone)
    assert judge_generator(samples, LATENESS, 3).slug == "worker-incomplete"
    unmet = judge_generator(samples, LATENESS, 3, deaths | {"planned": 457})
    assert unmet.outcome.name == "ERROR" and "7 were sent by nobody" in unmet.reason


def test_when_nobody_is_left_the_run_is_an_error(target: Target, tmp_path: Path) -> None:
    engine, _ = engine_for(tmp_path, target.host, workers=2, rebalance=True)
    try:
        engine.prepare()
        engine.start()
        pids = iter(engine.pids)
        with pytest.raises(HarnessError) as caught:
            for _ in engine.ticks():
                os.kill(next(pids), signal.SIGKILL)
    finally:
        engine.stop()
    assert caught.value.slug == "worker-died"
