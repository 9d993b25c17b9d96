"""The no-data matrix of the metrics store: each source of a number times each way in which it is missing. No cell
passes, and each names its reason, from the store through the run directory to the verdict. The client's half is
tests/unit/test_no_data.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.core.clock import wall_ns
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.openslo import load_objectives, objective_from_dict
from harness.results.rundir import RunDir
from harness.slo.judge import judge
from harness.slo.objectives import Window, collect_objective
from harness.telemetry.metrics import PrometheusStore
from tests.integration.metrics_lab import WINDOW_NS, Lab, await_first_scrape, lab_in, objective_of, server_that_says

pytestmark = pytest.mark.stack

RAW = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: raw}
spec:
  service: app
  indicator:
    metadata: {name: share}
    spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: Prometheus, spec: {query: share}}}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
"""
INCREASES = {"good": "sum(increase(good_total[$window]))", "total": "sum(increase(all_total[$window]))"}
SOURCES: dict[str, dict[str, Any] | None] = {
    "threshold": {"queries": {"value": "seconds"}, "target": 1.0},
    "threshold over a range": {"queries": {"value": "max_over_time(seconds[$window])"}, "target": 1.0},
    "good and total counters": {"queries": {"good": "good_total", "total": "sum(all_total)"}},
    "bad and total counters": {"queries": {"bad": "bad_total", "total": "all_total"}},
    "ratio of queries": {"queries": INCREASES, "counter": False},
    "raw ratio": None,  # as load_objectives makes it
}
WELL = "seconds 0.2\ngood_total {0}\nbad_total 0\nall_total {0}\nshare 0.99\n"
NAN = "seconds NaN\ngood_total NaN\nbad_total NaN\nall_total NaN\nshare NaN\n"
DOWN, SCRAPES = "the target or Prometheus was down in the steady phase", "scrapes of app (127.0.0.1:"

# what happens -> the outcome of every source, and what each says
CONDITIONS = {
    "absent series": (Outcome.NO_DATA, "no series"),
    "empty range": (Outcome.NO_DATA, "no series"),
    "NaN": (Outcome.NO_DATA, "NaN"),
    "stale": (Outcome.NO_DATA, SCRAPES),
    "target down": (Outcome.NO_DATA, DOWN),
    "store down": (Outcome.NO_DATA, "store-down: nothing answers at http://127.0.0.1:"),
    "store hangs": (Outcome.NO_DATA, "timeout: http://127.0.0.1:"),
    "timeout of the query": (Outcome.NO_DATA, "answered 503: query timed out"),
    "HTTP 500": (Outcome.NO_DATA, "answered 500"),
    "HTTP 503": (Outcome.NO_DATA, "answered 503"),
    "a page that is no JSON": (Outcome.NO_DATA, "answered something that is not JSON"),
    "truncated body": (Outcome.NO_DATA, "broke its answer off"),
    "partial response": (Outcome.NO_DATA, "warns: store a did not answer"),
    "query refused": (Outcome.ERROR, "bad-query: http://127.0.0.1:"),
}
ANSWER = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.95"],"values":[]}]}'
PRETENDED: dict[str, tuple[int, bytes, int | None]] = {
    "timeout of the query": (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', None),
    "HTTP 500": (500, b"broken", None),
    "HTTP 503": (503, b"starting up", None),
    "a page that is no JSON": (200, b"<html>a proxy</html>", None),
    "truncated body": (200, ANSWER, 500),
    "partial response": (200, ANSWER + b',"warnings":["store a did not answer"]}', None),
    "query refused": (422, b'{"status":"error","errorType":"execution","error":"many-to-many"}', None),
}


@dataclass(frozen=True)
class Scene:
    """A store, and the window in which something happened to it or to what it scrapes."""

    store: PrometheusStore
    window: Window


def window_from(lab: Lab, start: int) -> Scene:
    window = Window(start, start + WINDOW_NS)
    assert lab.store.wait_for_sample(["app", "prometheus"], window.end_wall_ns, 30)
    return Scene(lab.store, window)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Scene]]:
    """One window for each condition; a real Prometheus shows all that a real one can be made to show."""
    found: dict[str, Scene] = {}
    with ExitStack() as stack:
        lab = stack.enter_context(lab_in(tmp_path_factory.mktemp("lab")))
        await_first_scrape(lab)
        begun = wall_ns()
        found["absent series"] = window_from(lab, lab.say("another 1\n"))
        start = lab.say(WELL.format(1_000))
        lab.say(WELL.format(2_000))
        found["well"] = window_from(lab, start)
        hour = 3_600_000_000_000  # before that Prometheus was born
        found["empty range"] = Scene(lab.store, Window(begun - hour, begun - hour + WINDOW_NS))
        found["NaN"] = window_from(lab, lab.say(NAN))
        start = lab.say(WELL.format(3_000))
        lab.say("another 1\n")  # the series end, and Prometheus marks them stale
        found["stale"] = window_from(lab, start)
        start = lab.say(WELL.format(4_000))
        lab.says.unlink()
        lab.scraped(start + WINDOW_NS // 2)
        lab.say(WELL.format(5_000))
        found["target down"] = window_from(lab, start)
        well = found["well"].window
        for condition, answer in PRETENDED.items():
            found[condition] = Scene(stack.enter_context(asked(stack.enter_context(server_that_says(*answer)))), well)
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        found["store hangs"] = Scene(stack.enter_context(asked(f"http://127.0.0.1:{deaf.getsockname()[1]}")), well)
        killed = stack.enter_context(lab_in(tmp_path_factory.mktemp("killed")))
        killed.prometheus.kill()
        killed.prometheus.wait(10)
        found["store down"] = Scene(killed.store, well)
        yield found


@contextmanager
def asked(url: str) -> Iterator[PrometheusStore]:
    store = PrometheusStore(url, timeout=0.3 if "127.0.0.1" in url else 5)
    try:
        yield store
    finally:
        store.close()


def judged(scene: Scene, source: str, directory: Path) -> Finding:
    """From the store to the verdict: what is collected goes into a run directory, and comes out as a finding."""
    described = SOURCES[source]
    if described is None:
        (directory / "raw.yaml").write_text(RAW)
        (objective,) = load_objectives(directory / "raw.yaml")
    else:
        objective = objective_of(**described)
    run = RunDir.create(directory / "results", "cell")
    load = {"warmup": 0, "duration": WINDOW_NS, "maxLateness": 1, "workers": 1}
    plan = {"name": "cell", "load": load, "thresholds": [], "objectives": [objective.as_dict()]}
    run.write("plan.json", {**plan, "allowed_unvalidated": False})
    run.write(objective.evidence_path, collect_objective(scene.store, objective, scene.window))
    verdict = judge(run)
    (finding,) = verdict.findings
    assert verdict.outcome is finding.outcome
    assert finding.source == "prometheus"
    assert objective_from_dict(run.read("plan.json")["objectives"][0]) == objective
    return finding


@pytest.mark.parametrize("source", SOURCES)
def test_a_window_in_which_all_is_well_passes(scenes: dict[str, Scene], source: str, tmp_path: Path) -> None:
    found = judged(scenes["well"], source, tmp_path)
    assert found.outcome is Outcome.PASS, found.reason


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("source", SOURCES)
def test_a_cell_never_passes_and_names_its_reason(
    scenes: dict[str, Scene], source: str, condition: str, tmp_path: Path
) -> None:
    outcome, reason = CONDITIONS[condition]
    found = judged(scenes[condition], source, tmp_path)
    assert (found.outcome, found.observed) == (outcome, None), found.reason
    assert reason in found.reason
