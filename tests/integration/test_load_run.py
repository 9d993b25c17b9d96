"""The engine on a real server: every arrival is sent, recorded and counted, and latencies count from the schedule."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.load.engine import LoadEngine
from harness.model.events import LoadTick
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from harness.slo.conditions import judge_generator
from tests.integration.driven import to_the_end
from tests.integration.load_target import Target, load_target

pytestmark = pytest.mark.stack
SECOND = 1_000_000_000

SIMPLE = """\
from locust import task, between
from harness.load.users import SloUser

class Searcher(SloUser):
    wait_time = between(5, 9)  # under the harness the timetable decides

    @task
    def search(self):
        reply = self.client.post("/ok", json={"q": 1}, name="search")
        if reply.ok:
            self.record("recall", 0.9 if reply.json()["ok"] else 0, name="search")
"""


@pytest.fixture
def target() -> Iterator[Target]:
    with load_target() as found:
        yield found


def scenario(tmp_path: Path, text: str) -> str:
    path = tmp_path / "scenario.py"
    path.write_text(text)
    return str(path)


def drive(tmp_path: Path, **fields: Any) -> tuple[Samples, list[LoadTick]]:
    """One load, to its end."""
    defaults: dict[str, Any] = {"rate": 100.0, "warmup_ns": SECOND // 2, "duration_ns": SECOND}
    engine = LoadEngine(LoadPlan(**{**defaults, **fields}), run := RunDir.create(tmp_path / "results", "load"))
    ticks = to_the_end(engine)
    return load_samples(run.load), ticks


@pytest.mark.parametrize("workers", [1, 2])
def test_scheduled_sent_recorded_and_served_are_equal(target: Target, tmp_path: Path, workers: int) -> None:
    before = {thread.name for thread in threading.enumerate()}
    imported = {"gevent", "locust"} & set(sys.modules)  # by tests of what the load processes are made of
    samples, ticks = drive(tmp_path, scenario=scenario(tmp_path, SIMPLE), host=target.host, rate=300.0, workers=workers)
    assert [(worker.complete, worker.reason) for worker in samples.workers] == [(True, "")] * workers
    arrivals, counts = samples.arrivals, samples.counts("search")
    assert arrivals.scheduled == arrivals.started == arrivals.lateness.count == 450
    assert counts.sent == counts.replied == counts.outcomes["ok"] == target.counts()["/ok"] == 450
    assert samples.select("latency", {"name": "search"}).count == samples.select("recall", {}).count == 300
    assert samples.select("latency", {}, "warmup").count == samples.arrivals_in["warmup"].scheduled == 150
    assert samples.select("errors", {}).true == 0 and samples.select("errors", {}).total == 300
    recall = samples.select("recall", {"name": "search"})
    assert recall.histogram.sum == 300 * 900_000 and recall.scale == 1_000_000
    assert (ticks[-1].done, ticks[-1].scheduled, ticks[-1].in_flight, ticks[-1].errors) == (450, 450, 0, 0)
    assert {"gevent", "locust"} & set(sys.modules) == imported and "gevent" not in socket.socket.__module__
    assert {thread.name for thread in threading.enumerate()} <= before


def test_who_drives_load_imports_neither_gevent_nor_locust() -> None:
    code = "import sys, harness.gate.run, harness.pytest_plugin; print({'gevent', 'locust'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "set()\n"


def test_a_slow_connection_pool_does_not_make_users_many(target: Target, tmp_path: Path) -> None:
    """Few connections carry a small load: the user that came back last goes first."""
    samples, _ = drive(tmp_path, scenario=scenario(tmp_path, SIMPLE), host=target.host, rate=50.0, users=50)
    # Fifty users stood ready. While this machine stands still arrivals gather, and are then under way at once.
    slowest = samples.arrivals.lateness.quantile(1) + max(
        samples.select("latency", {}, phase).histogram.quantile(1) for phase in ("warmup", "steady")
    )
    assert target.counts()["connections"] < 25 + 50 * slowest / SECOND  # one more connection asked for this count


@pytest.mark.parametrize("users", [None, 4])
def test_a_frozen_server_is_seen_by_all_that_were_due_meanwhile(
    target: Target, tmp_path: Path, users: int | None
) -> None:
    plan = LoadPlan(scenario(tmp_path, SIMPLE), 200.0, 0, 6 * SECOND, target.host, users=users)
    engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "freeze"))
    frozen = 0.0
    try:
        engine.prepare()
        engine.start()
        for tick in engine.ticks():
            if tick.elapsed >= 2 and not frozen:
                target.process.send_signal(signal.SIGSTOP)
                since = time.monotonic()
                assert not threading.Event().wait(2.0)
                frozen = time.monotonic() - since
                target.process.send_signal(signal.SIGCONT)
    finally:
        target.process.send_signal(signal.SIGCONT)
        engine.stop()
    samples = load_samples(run.load)
    assert samples.arrivals.started == samples.counts("search").replied == target.counts()["/ok"] == 1200
    latency = samples.select("latency", {"name": "search"}).histogram
    # 200 a second were due while it stood still, and the first of them waited all that time: of n samples the p-th
    # percentile is what the (1 - p) * n longest waited at least
    theory = frozen - 0.01 * 1200 / 200
    assert latency.quantile(0.99) / 1e9 >= 0.95 * theory
    assert latency.max / 1e9 >= 0.95 * frozen
    late_by_half_a_second = latency.count - latency.count_below(SECOND // 2)
    assert late_by_half_a_second >= 0.95 * 200 * (frozen - 0.5)
    if users:
        assert samples.arrivals.starved > 0
        assert samples.arrivals.waited.max / 1e9 > 0.9 * frozen
        assert samples.select("service_time", {}).histogram.quantile(0.9) < latency.quantile(0.9)


def test_when_the_queue_is_full_arrivals_are_dropped_and_counted(target: Target, tmp_path: Path) -> None:
    hang = scenario(tmp_path, SIMPLE.replace("/ok", "/hang"))
    fields: dict[str, Any] = {"rate": 500.0, "warmup_ns": 0, "users": 2, "queue": 10, "timeout_ns": 3 * SECOND}
    samples, _ = drive(tmp_path, scenario=hang, host=target.host, **fields)
    arrivals, counts = samples.arrivals, samples.counts("search")
    # two are sent and hang, ten wait; when the two have timed out, two more are sent, and two again, until those that
    # still wait are given up
    assert (arrivals.scheduled, arrivals.starved) == (500, 498) and arrivals.started in (4, 6)
    assert arrivals.dropped == 500 - arrivals.started
    assert counts.sent == arrivals.started == target.counts()["/hang"] and counts.outcomes == {"timeout": counts.sent}
    (worker,) = samples.workers
    assert worker.complete, worker.reason  # it is the system that was too slow, and all is told
    assert judge_generator(samples, 3 * SECOND).slug == "arrivals-dropped"


WEIGHTS = """\
from locust import task, TaskSet, SequentialTaskSet, events
from harness.load.users import SloUser

@events.test_start.add_listener
def started(environment, **_):
    print("the scenario's own listener has run")

class Steps(SequentialTaskSet):
    @task
    def one(self): self.client.get("/one")
    @task
    def two(self): self.client.get("/two")
    @task
    def leave(self):
        self.client.get("/leave")
        self.interrupt()

class Browser(SloUser):
    weight = 3
    tasks = [Steps]

class Buyer(SloUser):
    def on_start(self): self.client.get("/login")
    def on_stop(self): self.client.get("/logout")
    @task(1)
    def buy(self): self.client.get("/late"); self.client.get("/pay")
"""


def test_classes_weights_and_task_sets_are_locusts(target: Target, tmp_path: Path) -> None:
    samples, _ = drive(tmp_path, scenario=scenario(tmp_path, WEIGHTS), host=target.host, rate=200.0, users=8)
    assert samples.workers[0].complete
    sent = {name: samples.counts(name).sent for name in samples.request_names()}
    served = target.counts()
    assert sent == {name: count for name, count in served.items() if name != "connections"}
    assert samples.arrivals.started == 300 and sent["/one"] + sent["/two"] + sent["/leave"] == 225  # three of four
    assert sent["/late"] == sent["/pay"] == 75  # one arrival, two requests
    begun = [samples.select("latency", {"name": name}, "warmup").count for name in ("/late", "/pay")]
    assert begun[0] == begun[1] == 25  # of the phase in which it was due, though sent 50 ms later
    assert sent["/one"] >= sent["/two"] >= sent["/leave"] >= 60
    assert sent["/login"] == sent["/logout"] == 2
    assert samples.select("latency", {"name": "/login"}, "warmup").count == 2
    assert samples.select("latency", {"name": "/logout"}).count == 0  # no arrival asked for it
    log = next((tmp_path / "results").glob("*-load-*/logs/load-0.log")).read_text()
    assert "own listener has run" in log


RAISES = """\
from locust import task
from locust.exception import RescheduleTask, StopUser
from harness.load.users import SloUser

class Searcher(SloUser):
    count = 0
    @task
    def search(self):
        Searcher.count += 1
        number = Searcher.count  # others count on while this one waits for its reply
        self.client.get("/ok", name="search")
        if number % 5 == 0:
            raise KeyError("neighbours")
        if number % 7 == 0:
            raise StopUser()
        if number % 11 == 0:
            raise RescheduleTask()
"""


def test_a_task_that_raises_is_an_error_and_the_run_goes_on(target: Target, tmp_path: Path) -> None:
    samples, ticks = drive(tmp_path, scenario=scenario(tmp_path, RAISES), host=target.host, users=3)
    assert samples.workers[0].complete
    assert samples.arrivals.started == samples.counts("search").outcomes["ok"] == target.counts()["/ok"] == 150
    raised = [samples.select("errors", {"outcome": "exception"}, phase) for phase in ("warmup", "steady")]
    assert sum(series.true for series in raised) == 30
    errors = samples.select("errors", {"name": "search"})
    assert (errors.true, errors.total) == (raised[1].true, 100 + raised[1].true)
    assert ticks[-1].errors == 30
    log = next((tmp_path / "results").glob("*-load-*/logs/load-0.log")).read_text()
    assert log.count("KeyError: 'neighbours'") == 1 and "scenario.py" in log


STOPS = """\
from locust import task
from locust.exception import StopUser
from harness.load.users import SloUser

class Searcher(SloUser):
    @task
    def search(self):
        self.client.get("/late", name="search")
        raise StopUser()
"""


def test_users_that_stop_are_replaced_as_long_as_arrivals_wait(target: Target, tmp_path: Path) -> None:
    """All are dispatched within half a second; one user after the other needs 50 ms for each."""
    fields: dict[str, Any] = {"warmup_ns": 0, "duration_ns": SECOND // 2, "users": 1, "rate": 40.0}
    samples, _ = drive(tmp_path, scenario=scenario(tmp_path, STOPS), host=target.host, **fields)
    assert samples.workers[0].complete, samples.workers[0].reason
    assert samples.arrivals.started == target.counts()["/late"] == 20


def test_the_host_may_be_named_at_the_start(target: Target, tmp_path: Path) -> None:
    plan = LoadPlan(scenario(tmp_path, SIMPLE), 100.0, 0, SECOND)
    engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "later"))
    try:
        engine.prepare()
        engine.start(target.host)
        list(engine.ticks())
    finally:
        engine.stop()
    assert load_samples(run.load).counts("search").sent == target.counts()["/ok"] == 100


LIMIT = """\
            import gevent
            self.made = getattr(self, "made", 0) + 1
            self.environment.made = getattr(self.environment, "made", 0) + 1
            if self.environment.made == 40:
                gevent.spawn(self.environment.runner.quit)
            if self.made == 20:
                self.stop()
"""


def test_the_same_scenario_under_plain_locust(target: Target, tmp_path: Path) -> None:
    # Each user stops itself: whom Locust stops while a request is under way, it does not count
    text = SIMPLE.replace("between(5, 9)", "between(0.01, 0.02)") + LIMIT
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", scenario(tmp_path, text), "--headless", "-u", "2", "-r", "2",
         "--host", target.host, "--json", "--skip-log"],
        capture_output=True, text=True, timeout=180, check=False, cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (stats,) = json.loads(done.stdout)
    assert (stats["name"], stats["method"], stats["num_failures"]) == ("search", "POST", 0)
    assert stats["num_requests"] == target.counts()["/ok"] == 40
    assert stats["total_content_length"] == 11 * stats["num_requests"]
