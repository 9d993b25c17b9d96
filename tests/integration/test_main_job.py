"""The main job on the real system, short: what passes, what must not, and that the verdict can be made again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.jsonio import canonical, read_json
from harness.core.outcome import Outcome
from harness.gate.session import Session
from harness.results.events import read_events
from harness.results.rundir import RunDir
from harness.slo.judge import judge
from tests.integration.helpers import ROOT, finding, run_one, unexpected, write_validation

pytestmark = pytest.mark.stack


def test_a_promise_that_holds_passes_with_its_evidence(slo_session: Session, tmp_path: Path) -> None:
    path = write_validation(
        tmp_path,
        thresholds='{"latency{name:search}": ["p(95)<5s"], "errors{name:search}": ["rate<3%"], '
        '"recall{name:search}": ["avg>=0.95"]}',
        objectives=f"[{ROOT / 'slos/vector_search.openslo.yaml'}]",
        duration="11s",  # so many that 99 % availability is decided
    )
    done = run_one(path, slo_session)
    assert unexpected(done) == []

    sent = finding(done, "counts/search")
    assert sent.observed == sent.target == 480  # 40 a second for 1 + 11 s, each counted once on both sides
    assert finding(done, "thresholds/latency").samples == 440  # the steady phase alone
    assert finding(done, "thresholds/recall").samples == 440
    assert sum(one.source == "prometheus" for one in done.verdict.findings) >= 2
    assert finding(done, "machine/stalls").samples > 100  # the machine was watched meanwhile

    again = canonical(judge(RunDir(done.run.path)).as_dict())
    assert again == (done.run.path / "verdict.json").read_bytes()

    phases = [(e["phase"], e["edge"]) for e in read_events(done.run.events) if e["kind"] == "phase"]
    assert phases[0] == ("setup", "begin")
    assert phases.index(("warmup", "end")) < phases.index(("steady", "begin")) < phases.index(("collect", "begin"))
    spans = (done.run.evidence / "spans.jsonl").read_text()
    assert "milvus" in spans
    assert '"operation"' in (done.run.logs / "app.jsonl").read_text()
    versions = {
        name: one["version"] for name, one in read_json(done.run.path / "run.json")["stack"]["services"].items()
    }
    assert versions["postgres"] and versions["prometheus"] and versions["milvus"] and versions["redis"]


def test_a_promise_that_cannot_hold_fails_and_says_by_how_much(slo_session: Session, tmp_path: Path) -> None:
    path = write_validation(tmp_path, thresholds='{"latency{name:search}": ["p(95)<1ms"]}')
    done = run_one(path, slo_session)
    assert done.verdict.outcome is Outcome.FAIL
    missed = finding(done, "thresholds/latency")
    assert missed.outcome is Outcome.FAIL
    assert missed.margin is not None and missed.margin < -1
    assert missed.observed is not None and missed.observed > 0.001
    assert "outside" in missed.reason


def test_a_breach_ends_the_run_and_what_was_measured_until_then_is_judged(slo_session: Session, tmp_path: Path) -> None:
    path = write_validation(
        tmp_path,
        thresholds='{"latency{name:search}": ["p(95)<1us"], "recall{name:search}": ["avg>=0.95"]}',
        objectives=f"[{ROOT / 'slos/features.openslo.yaml'}]",
        duration="60s",
    )
    done = run_one(path, replace(slo_session, abort_grace_ns=1_000_000_000))
    assert (done.verdict.outcome, finding(done, "thresholds/latency").slug) == (Outcome.FAIL, "breach-aborted")
    sent = finding(done, "counts/search")
    assert sent.outcome is Outcome.PASS and sent.observed == sent.target
    assert sent.target is not None and sent.target < 40 * 30  # half of the minute was spared at least
    assert finding(done, "thresholds/recall").outcome is Outcome.PASS
    (freshness,) = [one for one in done.verdict.findings if one.id.startswith("objectives/feature-freshness")]
    assert freshness.outcome is Outcome.PASS and freshness.samples is not None and freshness.samples < 80  # of 120


def test_a_metric_that_nobody_recorded_is_no_data(slo_session: Session, tmp_path: Path) -> None:
    done = run_one(write_validation(tmp_path, thresholds='{"freshness{name:search}": ["avg<1"]}'), slo_session)
    assert done.verdict.outcome is Outcome.NO_DATA


def test_too_few_samples_decide_nothing(slo_session: Session, tmp_path: Path) -> None:
    done = run_one(write_validation(tmp_path, thresholds='{"latency{name:search}": ["p(99)<9s"]}'), slo_session)
    assert done.verdict.outcome is Outcome.INCONCLUSIVE
    assert "459" in finding(done, "thresholds/latency").reason


def test_lowering_the_search_effort_fails_the_recall_objective(tmp_path: Path) -> None:
    path = write_validation(tmp_path, thresholds='{"recall{name:search}": ["avg>=0.95"]}')
    with Session(tmp_path / "results", overrides={"app": {"APP_SEARCH_EFFORT": "1"}}, reuse=False) as session:
        done = run_one(path, session)
    assert done.verdict.outcome is Outcome.FAIL
    recall = finding(done, "thresholds/recall")
    assert recall.observed is not None and recall.observed < 0.95
