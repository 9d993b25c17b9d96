"""Every executor on a real server: what was planned is what was sent, and where a latency counts from."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.load.engine import LoadEngine
from harness.model.events import LoadTick
from harness.model.load import LoadPlan
from harness.model.timetable import Stage
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from harness.slo.conditions import judge_generator
from tests.integration.driven import to_the_end
from tests.integration.load_target import Target, load_target

pytestmark = pytest.mark.stack
MS, SECOND = 1_000_000, 1_000_000_000

SCENARIO = """\
from locust import task, constant, constant_pacing
from harness.load.users import SloUser

class Searcher(SloUser):
    wait_time = WAIT

    @task
    def search(self):
        self.client.get("/PATH", name="search")
"""


@pytest.fixture
def target() -> Iterator[Target]:
    with load_target() as found:
        yield found


def drive(
    tmp_path: Path, target: Target, executor: str, wait: str = "constant(0)", path: str = "ok", **fields: Any
) -> tuple[Samples, list[LoadTick]]:
    scenario = tmp_path / "scenario.py"
    scenario.write_text(SCENARIO.replace("WAIT", wait).replace("PATH", path))
    defaults: dict[str, Any] = {"rate": 0.0, "warmup_ns": SECOND, "duration_ns": 2 * SECOND, "host": target.host}
    plan = LoadPlan(str(scenario), executor=executor, **{**defaults, **fields})
    engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "load"))
    ticks = to_the_end(engine)
    samples = load_samples(run.load)
    assert [(worker.complete, worker.reason) for worker in samples.workers] == [(True, "")] * plan.workers
    assert samples.counts("search").sent == target.counts().get(f"/{path}", 0)
    return samples, ticks


def sent_in_seconds(samples: Samples) -> dict[int, int]:
    return {second: series.counted for second, series in sorted(samples.timeline("sent", {"name": "search"}).items())}


RAMP = {"stages": (Stage(200, 2 * SECOND), Stage(0, 0), Stage(0, SECOND // 2), Stage(100, 0), Stage(100, SECOND // 2))}
OPEN: dict[str, dict[str, Any]] = {
    "ramping-arrival-rate": RAMP,
    "poisson": {"rate": 150.0, "seed": 5},
    "replay": {"speed": 2.0},
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("executor", OPEN)
def test_what_an_open_executor_plans_is_sent_in_its_second(
    target: Target, tmp_path: Path, executor: str, workers: int
) -> None:
    fields = dict(OPEN[executor])
    if executor == "replay":
        times = tmp_path / "times"
        times.write_text("\n".join(["0.2"] * 30 + [str(number / 20) for number in range(100)]))
        fields["file"] = str(times)
    samples, ticks = drive(tmp_path, target, executor, workers=workers, **fields)
    plan = LoadPlan("", fields.pop("rate", 0.0), SECOND, 2 * SECOND, executor=executor, **fields)
    planned = {second: plan.arrivals_in(second * SECOND, (second + 1) * SECOND) for second in range(3)}
    assert sent_in_seconds(samples) == {second: count for second, count in planned.items() if count}
    assert samples.arrivals.scheduled == samples.arrivals.started == plan.arrivals == ticks[-1].scheduled
    assert samples.arrivals_in["steady"].scheduled == planned[1] + planned[2]
    assert samples.select("latency", {}).count == samples.select("service_time", {}).count == planned[1] + planned[2]


def test_users_of_a_closed_load_go_on_when_they_are_answered(target: Target, tmp_path: Path) -> None:
    """Replies take 50 ms, pauses 50 ms: three users make at most 30 requests a second, and fewer on a busy machine."""
    samples, ticks = drive(tmp_path, target, "constant-users", "constant(0.05)", "late", users=3)
    sent = sent_in_seconds(samples)
    assert 20 <= sum(sent.values()) <= 3 * 31
    arrivals = samples.arrivals
    assert arrivals.scheduled == arrivals.started == sum(sent.values()) == ticks[-1].done
    assert (arrivals.dropped, arrivals.starved) == (0, 0)
    latency, service = (samples.select(metric, {}).histogram for metric in ("latency", "service_time"))
    assert latency.count == service.count and latency.min >= 50 * MS
    assert latency.quantile(0.5) < 1.5 * service.quantile(0.5)  # both from the sending
    assert target.counts()["connections"] <= 3 + 2  # and one for each question of this test


def test_pacing_is_locusts(target: Target, tmp_path: Path) -> None:
    """One task in 100 ms for each user, though the reply takes half of that."""
    samples, _ = drive(tmp_path, target, "constant-users", "constant_pacing(0.1)", "late", users=4)
    sent = sum(sent_in_seconds(samples).values())
    assert 20 <= sent <= 4 * 32, sent  # Locust's pacing lets the first task go twice
    assert samples.arrivals.lateness.max > 0  # of the end of a pause


@pytest.mark.parametrize("workers", [1, 2])
def test_users_come_and_go_as_planned(target: Target, tmp_path: Path, workers: int) -> None:
    """Ten requests a second from each user: two in the first second, six in the second, none in the third."""
    stages = (Stage(2, 0), Stage(2, SECOND), Stage(6, 0), Stage(6, SECOND), Stage(0, 0), Stage(0, SECOND))
    samples, _ = drive(
        tmp_path, target, "ramping-users", "constant_pacing(0.1)", stages=stages, workers=workers, warmup_ns=0,
        duration_ns=3 * SECOND,
    )  # fmt: skip
    sent = sent_in_seconds(samples)
    assert 0 < sent[0] <= 2 * 12 and 0 < sent[1] <= 6 * 12 and sent[1] > 1.5 * sent[0] and 2 not in sent
    assert target.counts()["connections"] <= 6 + 2


def test_a_slow_system_thins_a_closed_load_and_the_record_does_not_hide_it(target: Target, tmp_path: Path) -> None:
    samples, _ = drive(tmp_path, target, "constant-users", path="hang", users=5, timeout_ns=SECOND, warmup_ns=0)
    counts = samples.counts("search")
    assert set(counts.outcomes) == {"timeout"} and 5 <= counts.sent <= 10
    assert samples.arrivals.scheduled == counts.sent


WEIGHTED = """\
from locust import task, constant
from locust.exception import StopUser
from harness.load.users import SloUser

class Often(SloUser):
    weight = 3
    wait_time = constant(0.05)
    @task
    def go(self):
        self.client.get("/ok", name="often")
        if not hasattr(Often, "stopped"):
            Often.stopped = True
            raise StopUser()

class Seldom(SloUser):
    wait_time = constant(0.05)
    @task
    def go(self): self.client.get("/ok", name="seldom")
"""


def test_classes_share_the_seats_by_weight_and_who_leaves_is_replaced(target: Target, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.py"
    scenario.write_text(WEIGHTED)
    plan = LoadPlan(str(scenario), 0.0, 0, 2 * SECOND, target.host, executor="constant-users", users=8)
    engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "load"))
    to_the_end(engine)
    samples = load_samples(run.load)
    often, seldom = (samples.counts(name).sent for name in ("often", "seldom"))
    assert samples.workers[0].complete and 1.5 < often / seldom < 6


def test_a_closed_load_can_be_ended_early(target: Target, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.py"
    scenario.write_text(SCENARIO.replace("WAIT", "constant(0.02)").replace("PATH", "ok"))
    plan = LoadPlan(str(scenario), 0.0, 0, 60 * SECOND, target.host, executor="constant-users", users=2)
    engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "load"))
    settled = []
    try:
        engine.prepare()
        engine.start()
        for tick in engine.ticks():
            settled.append(engine.settled)
            if tick.elapsed > 2:
                engine.end_early()
        length = engine.length_ns
    finally:
        engine.stop()
    samples = load_samples(run.load)
    assert samples.workers[0].complete and 2 * SECOND < length < 30 * SECOND
    assert samples.arrivals_in.keys() == {"steady"} and samples.counts("search").sent == target.counts()["/ok"]
    assert settled == sorted(settled) and settled[1] >= 1


BURNS = """\
import time
from locust import task
from harness.load.users import SloUser

class Searcher(SloUser):
    @task
    def search(self):
        until = time.thread_time() + 0.025
        while time.thread_time() < until:
            pass
        self.client.get("/PATH", name="search")
"""


@pytest.mark.parametrize(
    ("text", "path", "slug"), [(BURNS, "ok", "generator-saturated"), (SCENARIO, "hang", "arrivals-dropped")]
)
def test_a_slow_generator_and_a_slow_system_are_told_apart(
    target: Target, tmp_path: Path, text: str, path: str, slug: str
) -> None:
    """Sixty arrivals a second of 25 ms of its own work are more than a generator can do; a server that never answers
    keeps both users, and then the queue is full."""
    scenario = tmp_path / "scenario.py"
    scenario.write_text(text.replace("WAIT", "constant(0)").replace("PATH", path))
    fields: dict[str, Any] = {"users": 2, "queue": 5, "timeout_ns": SECOND // 2} if path == "hang" else {}
    plan = LoadPlan(str(scenario), 60.0, 0, SECOND, target.host, **fields)
    engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "load"))
    to_the_end(engine)
    samples = load_samples(run.load)
    allowed = 100 * MS if path == "ok" else SECOND  # the second is punctual, as far as a busy machine lets it
    assert judge_generator(samples, allowed).slug == slug, samples.arrivals
    assert (samples.arrivals.dropped > 0) == (path == "hang")
    if path == "hang":
        assert samples.arrivals.waited.quantile(0.5) > samples.arrivals.lateness.quantile(0.5)


def test_a_generator_that_stood_still_to_the_end_does_not_pass_for_one_that_had_less_to_do(
    target: Target, tmp_path: Path
) -> None:
    scenario = tmp_path / "scenario.py"
    scenario.write_text(SCENARIO.replace("WAIT", "constant(0)").replace("PATH", "ok"))
    plan = LoadPlan(str(scenario), 500.0, 0, 8 * SECOND, target.host, timeout_ns=SECOND // 10)
    engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "load"))
    stopped = False
    try:
        engine.prepare()
        engine.start()
        for _ in engine.ticks():
            if not stopped:
                stopped = True
                os.kill(engine.pids[0], signal.SIGSTOP)
                assert not threading.Event().wait(11.0)  # beyond its deadline, which is 2.2 s after the end
                os.kill(engine.pids[0], signal.SIGCONT)
    finally:
        engine.stop()
    samples = load_samples(run.load)
    assert samples.arrivals.scheduled < plan.arrivals
    assert "not dispatched by the deadline" in samples.workers[0].reason
    assert judge_generator(samples, 60 * SECOND).slug == "worker-incomplete"
