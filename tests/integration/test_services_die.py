"""Each service of the whole system dies in mid-run: what needs it gets its outcome, the rest is judged as ever."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.outcome import Outcome
from harness.gate.run import RunResult
from harness.gate.session import Session
from harness.model.events import Event, PhaseEvent
from tests.integration.helpers import ROOT, finding, run_one, write_validation

pytestmark = pytest.mark.stack

OBJECTIVES = """\
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {name}}}
spec:
  service: app
  indicator:
    spec: {{thresholdMetric: {{metricSource: {{type: Prometheus, spec: {{query: '{query}'}}}}}}}}
  budgetingMethod: Occurrences
  objectives: [{{displayName: x, op: gte, value: 0, target: 0.99}}]
"""
QUERIES = {
    "of-app": 'sum(rate(model_inference_requests_total{job="application"}[$window]))',
    "of-model-server": 'sum(rate(model_server_requests_total{job="model-server"}[$window]))',
    "of-refresher": 'sum(feature_refresh_last_success_timestamp_seconds{job="refresher"})',
    "of-redis": 'sum(rate(redis_commands_total{job="redis"}[$window]))',
    "of-postgres": 'sum(rate(pg_slo_calls_total{job="postgres"}[$window]))',
    "of-loki": 'sum(rate(loki_distributor_lines_received_total{job="loki"}[$window]))',
    "of-alertmanager": 'sum(alertmanager_alerts{job="alertmanager"})',
    "of-milvus": 'sum(milvus_proxy_req_count{job="milvus"})',
}
THRESHOLDS = '{"errors{name:predict}": ["rate<3%"], "correct{name:predict}": ["avg>=0.9"]}'
WATCHERS = {
    "prometheus": set(QUERIES),  # nobody is left to ask
    "alertmanager": {"of-alertmanager"},
    "loki": {"of-loki"},
    "postgres-exporter": {"of-postgres"},
    "redis-exporter": {"of-redis"},
    "notifications": set(),
    "traces": set(),
}


# After SIGKILL Milvus waits for the leases of its former self, a minute or more; the next test gets a new stack.
NOT_REPAIRED = {"milvus"}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(tmp_path_factory.mktemp("results"), reuse=False) as session:
        yield session


def run_while(session: Session, tmp_path: Path, victim: str) -> RunResult:
    """A run in whose steady phase `victim` is killed; afterwards it is started again, so that the stack is whole."""
    paths = []
    for name, query in QUERIES.items():
        paths.append(tmp_path / f"{name}.openslo.yaml")
        paths[-1].write_text(OBJECTIVES.format(name=name, query=query))
    path = write_validation(
        tmp_path,
        name=f"without-{victim}",
        scenario=ROOT / "scenarios/inference.py",
        thresholds=THRESHOLDS,
        objectives=f"[{', '.join(map(str, paths))}]",
        needs="[load-features, model-server]",
        duration="6s",
    )
    stack = session.stack(ROOT / "stack.yaml", session.tell)

    def on_steady(event: Event) -> None:
        if isinstance(event, PhaseEvent) and (event.phase, event.edge) == ("steady", "begin"):
            stack.signal(victim, signal.SIGKILL)

    session.handlers.append(on_steady)
    try:
        done = run_one(path, session)
    finally:
        session.handlers.remove(on_steady)
    if victim in NOT_REPAIRED:
        return done
    stack.start_service(victim)
    end = time.monotonic() + 30
    while not stack.healthy():  # whoever works with it has to find it again
        assert time.monotonic() < end, f"not whole again after the end of {victim}"
        time.sleep(0.05)
    return done


def outcomes(done: RunResult) -> dict[str, Outcome]:
    names = [f"objectives/{name}/x" for name in QUERIES]
    return {one.id.split("/")[1]: one.outcome for one in done.verdict.findings if one.id in names}


@pytest.mark.parametrize("victim", WATCHERS)
def test_one_that_only_looks_on_takes_its_data_with_it_and_nothing_else(
    session: Session, tmp_path: Path, victim: str
) -> None:
    done = run_while(session, tmp_path, victim)
    assert finding(done, "stack/services").outcome is Outcome.NO_DATA
    assert f"{victim} ended" in finding(done, "stack/services").reason
    wanted = {name: Outcome.NO_DATA if name in WATCHERS[victim] else Outcome.PASS for name in QUERIES}
    assert outcomes(done) == wanted
    for promise in ("thresholds/errors", "thresholds/correct", "counts/predict", "counts/feedback", "generator"):
        assert finding(done, promise).outcome is Outcome.PASS, finding(done, promise)
    assert done.verdict.outcome is Outcome.NO_DATA


@pytest.mark.parametrize(
    ("victim", "lost", "errors"),
    [
        # PostgreSQL steps in for Redis
        ("redis", {"of-redis"}, Outcome.PASS),
        # a features cache that is warm needs no PostgreSQL; its exporter says that it sees nothing
        ("postgres", {"of-postgres"}, Outcome.PASS),
        ("model-server", {"of-model-server"}, Outcome.FAIL),
        ("refresher", {"of-refresher"}, Outcome.PASS),
        ("milvus", {"of-milvus"}, Outcome.PASS),  # last: see NOT_REPAIRED
    ],
)
def test_one_that_serves_spoils_the_measurement_and_each_promise_is_judged_by_what_was_seen(
    session: Session, tmp_path: Path, victim: str, lost: set[str], errors: Outcome
) -> None:
    done = run_while(session, tmp_path, victim)
    assert finding(done, "stack/services").outcome is Outcome.ERROR
    assert f"{victim} ended with" in finding(done, "stack/services").reason
    assert finding(done, "thresholds/errors").outcome is errors
    few = {Outcome.INCONCLUSIVE} if errors is Outcome.FAIL else set()  # hardly any was answered
    assert finding(done, "thresholds/correct").outcome in {Outcome.PASS} | few
    assert finding(done, "counts/predict").outcome is Outcome.PASS
    assert outcomes(done) == {name: Outcome.NO_DATA if name in lost else Outcome.PASS for name in QUERIES}
    assert done.verdict.outcome is (Outcome.FAIL if errors is Outcome.FAIL else Outcome.ERROR)


def test_the_service_under_test_itself(session: Session, tmp_path: Path) -> None:
    done = run_while(session, tmp_path, "app")
    assert finding(done, "stack/services").outcome is Outcome.ERROR
    assert finding(done, "thresholds/errors").outcome is Outcome.FAIL
    assert finding(done, "counts/predict").outcome is Outcome.ERROR  # nobody is left to say how many there were
    assert outcomes(done)["of-app"] is Outcome.NO_DATA
    assert outcomes(done)["of-redis"] is Outcome.PASS
    assert done.verdict.outcome is Outcome.FAIL
