"""Every scenario makes the same requests under plain `locust -f` and under the harness, as the servers themselves count
them: as many tasks of each class of user in both, one user a class."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.gate.environment import scenario_environment
from harness.gate.plan import plan
from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from harness.stack.runtime import Stack
from harness.telemetry.counters import read_counters, read_idle
from tests.integration.helpers import ROOT

pytestmark = pytest.mark.stack
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Expected:
    """names: of its requests; metrics: that it records; classes: of users; tasks: of each; varies: names of which there
    are as many as it takes; prepared: requests of each name before the load, which are not recorded."""

    names: frozenset[str]
    metrics: frozenset[str]
    classes: int = 1
    tasks: int = 30
    varies: frozenset[str] = frozenset()
    prepared: int = 0


def expected(
    names: str, metrics: str, classes: int = 1, tasks: int = 30, varies: str = "", prepared: int = 0
) -> Expected:
    return Expected(
        frozenset(names.split()), frozenset(metrics.split()), classes, tasks, frozenset(varies.split()), prepared
    )  # fmt: skip


SCENARIOS = {
    "vector_search": expected("search", "recall"),
    "inference": expected("predict feedback", "correct"),
    "features": expected("features", "age_seconds cached"),
    "rag": expected("search predict", "recall workflow_seconds joined"),
    "milvus_search": expected("milvus-search", "recall", prepared=1),
    "postgres_lookup": expected("postgres-lookup", "correct", prepared=1),
    "redis_features": expected("redis-features", "hit age_seconds", prepared=1),
    "streaming_inference": expected(
        "infer-stream", "first_chunk_seconds between_chunks_seconds tokens_per_second goodput correct"
    ),
    "ingest_while_search": expected(
        "milvus-insert milvus-search",
        "searchable_seconds found recall",
        classes=2,
        tasks=6,
        varies="milvus-search",
        prepared=1,
    ),
}
BY_THE_APP = {"search", "predict", "feedback", "features"}
# Each user stops after so many tasks, and Locust when all have.
BOUNDED = """\
import gevent, os, sys
from locust.exception import StopUser

sys.path.insert(0, os.environ["ROOT"])
from harness.load.users import user_classes
import scenarios.{name} as scenario

CLASSES = user_classes(vars(scenario))
left = {{cls: int(os.environ["TASKS"]) for cls in CLASSES}}
globals().update((cls.__name__, cls) for cls in CLASSES)

def bounded(cls, task):
    def run(user):
        if not left[cls]:
            raise StopUser
        task(user)
        left[cls] -= 1
        if not any(left.values()):
            gevent.spawn(user.environment.runner.quit)
    return run

def bound_all():  # in a function, for Locust takes each global name for a class of its own
    for cls in CLASSES:
        cls.tasks = [bounded(cls, task) for task in cls.tasks]

bound_all()
"""


def test_each_file_of_scenarios_that_has_users_is_among_them() -> None:
    users = ("(SloUser)", "(MilvusUser)", "(PostgresUser)", "(RedisUser)")
    files = {
        path.stem for path in (ROOT / "scenarios").glob("*.py") if any(one in path.read_text() for one in users)
    }  # fmt: skip
    assert files == SCENARIOS.keys()
    validated = {
        path.stem for place in ("slos", "examples") for path in (ROOT / place).glob("*.yaml")
        if "openslo" not in path.name
    }  # fmt: skip
    assert validated == SCENARIOS.keys()


@pytest.mark.parametrize("profile", ["pr", "nightly", "release"])
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_validation_of_each_scenario_can_be_planned(path: Path, profile: str) -> None:
    (planned,) = plan(path, profile)
    names = {dict(one.tags).get("name") for one in planned.validation.thresholds}
    assert names == SCENARIOS[path.stem].names
    assert {one.metric for one in planned.validation.thresholds} - {"latency", "errors"} <= SCENARIOS[path.stem].metrics


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_makes_the_same_requests_under_locust_and_under_the_harness(
    reference_stack: Stack, tmp_path: Path, name: str
) -> None:
    wanted = SCENARIOS[name]
    before = served(reference_stack, wanted, may_be_missing=True)
    by_locust = plain_locust(reference_stack, tmp_path, name)
    between = served(reference_stack, wanted)
    samples, ready = under_the_harness(reference_stack, tmp_path, name)
    after = served(reference_stack, wanted)

    assert by_locust.keys() == wanted.names == set(samples.request_names())
    for request in wanted.names:
        counts = samples.counts(request)
        assert counts.outcomes == {"ok": counts.sent}
        assert counts.sent == after[request] - ready[request]
        if request not in wanted.varies:
            assert counts.sent == by_locust[request] > 0
        assert ready[request] - between[request] == wanted.prepared
        if request in before:  # else it had never been asked
            assert between[request] - before[request] == by_locust[request] + wanted.prepared
    assert samples.arrivals.started == wanted.tasks * wanted.classes
    for metric in wanted.metrics:
        assert samples.select(metric, {}).count > 0, metric


def plain_locust(stack: Stack, tmp_path: Path, name: str) -> dict[str, int]:
    """Request name -> how many there were, of which none may have failed."""
    wanted = SCENARIOS[name]
    path = tmp_path / "bounded.py"
    path.write_text(BOUNDED.format(name=name))
    command = [sys.executable, "-m", "locust", "-f", str(path), "--headless", "--json"]
    command += ["--host", host(stack)] if wanted.names <= BY_THE_APP else []  # it takes precedence over a user's own
    command += ["-u", str(wanted.classes), "-r", str(wanted.classes)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, **scenario_environment(stack), "ROOT": str(ROOT), "TASKS": str(wanted.tasks)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert not [one for one in told if one["num_failures"]], told
    return {one["name"]: one["num_requests"] for one in told}


def under_the_harness(stack: Stack, tmp_path: Path, name: str) -> tuple[Samples, dict[str, float]]:
    """What was recorded, and what the servers had counted when the users stood ready."""
    wanted = SCENARIOS[name]
    load = LoadPlan(
        str(ROOT / f"scenarios/{name}.py"),
        float(wanted.tasks * wanted.classes),
        0,
        SECOND,
        host(stack),
        users=wanted.classes,
        env=scenario_environment(stack),
        timeout_ns=60 * SECOND,  # all are due within a second, and wait for their user
    )
    engine = LoadEngine(load, run := RunDir.create(tmp_path / "results", name))
    try:
        engine.prepare()
        ready = served(stack, wanted)
        engine.start()
        list(engine.ticks())
    finally:
        engine.stop()
    samples = load_samples(run.load)
    assert [(worker.complete, worker.reason) for worker in samples.workers] == [(True, "")]
    return samples, ready


def host(stack: Stack) -> str:
    return f"http://{stack.address('app.http')}"


def served(stack: Stack, wanted: Expected, *, may_be_missing: bool = False) -> dict[str, float]:
    """What the servers have counted of each kind of request."""
    found = {}
    for name in sorted(wanted.names):
        counter = stack.file.spec.counters[name]
        try:
            read = read_idle(
                lambda counter=counter: read_counters(stack.metrics_url(counter.service), [counter.series])  # type: ignore[misc]
            )
        except HarnessError as error:
            if not may_be_missing or error.slug != "counter-missing":
                raise
        else:
            found[name] = read[counter.series]
    return found
