"""What becomes of a planned fault: only one that was in force on its time, and was undone, passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.phases import Phase
from harness.results.rundir import RunDir
from harness.slo.conditions import judge_services
from harness.slo.faults import judge_faults
from harness.slo.judge import judge
from tests.unit.test_judge import PLAN, recorded

SECOND = 1_000_000_000
STEADY = Phase("steady", 2 * SECOND, 22 * SECOND)
PLANNED = [{"id": "latency{a->b}", "fault": "latency", "target": "a->b", "parameters": {}, "at": 5 * SECOND,
            "for": 10 * SECOND}]  # fmt: skip


def at(seconds: float | None, how: str = "") -> dict[str, Any] | None:
    """A moment of the steady phase as evidence has it."""
    if seconds is None:
        return None
    offset = STEADY.start_ns + round(seconds * SECOND)
    return {"offset_ns": offset, "wall_ns": 1_000 * SECOND + offset} | ({"how": how} if how else {})


def evidence(
    since: float | None = 5.02, until: float | None = 15.0, undone: float | None = 15.01, **more: Any
) -> dict[str, Any]:
    one = {
        "id": "latency{a->b}",
        "touches": ["service b"],
        "planned": {"begin": at(5), "end": at(15)},
        "asked": {"begin": at(5.0), "end": at(until)},
        "in_force": at(since, "an echo took 20 ms"),
        "undone": at(undone, "an echo came back"),
        "cut": False,
        "counters": {"delayed": 812, "reset": 0},
        "error": None,
    }
    return {"schema": 1, "faults": [one | more]}


LAST = {"begin": at(18), "end": at(20)}


def judged(told: Mapping[str, Any] | None) -> Finding:
    (finding,) = judge_faults(PLANNED, told, STEADY)
    assert finding.id == "faults/latency{a->b}"
    return finding


def error(slug: str, outcome: str = "error") -> dict[str, str]:
    return {"slug": slug, "cause": "it was not there", "remedy": "do something", "outcome": outcome}


def test_one_that_was_there_passes_and_says_when_and_how() -> None:
    found = judged(evidence())
    assert (found.outcome, found.slug) == (Outcome.PASS, "")
    assert found.observed == pytest.approx(0.998)
    assert found.reason == (
        "in force from 5.02s to 15.00s of the steady phase (an echo took 20 ms), undone at 15.01s (an echo came back); "
        "delayed 812"
    )


@pytest.mark.parametrize(
    ("told", "outcome", "slug"),
    [
        (None, "no-data", "not-collected"),
        ({"faults": []}, "no-data", "not-collected"),
        (evidence(since=None, until=None, undone=None), "no-data", "not-collected"),
        (evidence(since=None, until=None, undone=None, cut=True), "inconclusive", "cut-short"),
        (evidence(undone=None), "no-data", "not-collected"),
        (evidence(error=error("fault-without-effect")), "error", "fault-without-effect"),
        (evidence(undone=None, error=error("fault-not-undone")), "error", "fault-not-undone"),
        (evidence(since=None, error=error("fault-parameter", "usage")), "error", "fault-parameter"),
        (evidence(since=None, error=error("fault-unavailable", "not-validated")), "not-validated", "fault-unavailable"),
        (evidence(since=5.9, until=15.9), "pass", ""),  # a second may go by until it is seen
        (evidence(since=5.9, until=14.8), "error", "fault-late"),
        (evidence(since=6.9, until=16.9), "pass", ""),
        (evidence(since=7.1, until=17.1), "error", "fault-late"),
        (evidence(until=13.9), "error", "fault-late"),
        (evidence(planned=LAST, since=18.9, until=20.0, undone=20.1), "pass", ""),  # up to the end of the phase
        (evidence(planned=LAST, since=19.5, until=20.0, undone=20.1), "error", "fault-late"),
        (evidence(until=9.0, cut=True), "pass", ""),  # the load was ended then
        (evidence(since=7.0, until=9.0, cut=True), "error", "fault-late"),
        (evidence(since=5.9, until=6.0, cut=True), "pass", ""),
        (evidence(since=16.0, until=25.0, undone=26.0), "error", "fault-late"),
    ],
)
def test_anything_else_does_not(told: Mapping[str, Any] | None, outcome: str, slug: str) -> None:
    found = judged(told)
    assert (found.outcome, found.slug) == (outcome, slug), found.reason
    assert found.reason


def run_of(tmp_path: Path, faults: list[dict[str, Any]], told: Mapping[str, Any] | None) -> RunDir:
    run = RunDir(tmp_path)
    recorded(run.load)
    load = {"warmup": 0, "duration": PLAN.duration_ns, "maxLateness": 5_000_000}
    run.write("plan.json", {"name": "x", "load": load, "thresholds": [["errors{name:search}", "rate<2%"]],
                            "objectives": [], "allowed_unvalidated": False, "faults": faults})  # fmt: skip
    if told is not None:
        run.write("evidence/faults.json", told)
    return run


def test_a_run_with_faults_is_not_asked_whether_it_had_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("harness.slo.judge.judge_stationarity", lambda name, *_: asked.append(name))
    judge(run_of(tmp_path, [], None))
    assert asked == ["search"]
    verdict = judge(run_of(tmp_path, PLANNED, evidence()))
    assert asked == ["search"]
    assert [one.id for one in verdict.findings if one.source == "fault"] == ["faults/latency{a->b}"]


def test_a_plan_with_faults_and_no_evidence_of_them_never_passes(tmp_path: Path) -> None:
    verdict = judge(run_of(tmp_path, PLANNED, None))
    assert {one.id: one.outcome for one in verdict.findings}["faults/latency{a->b}"] is Outcome.NO_DATA


def test_each_fault_of_a_run_that_ended_before_any_load_shares_its_end(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run_of(tmp_path, PLANNED, None)
    for path in run.load.glob("*.jsonl"):
        path.unlink()
    run.write(
        "evidence/error.json", {"outcome": "not-validated", "slug": "fault-unavailable", "cause": "x", "remedy": "y"}
    )
    verdict = judge(run)
    assert {one.id: one.outcome for one in verdict.findings}["faults/latency{a->b}"] is Outcome.NOT_VALIDATED
    assert verdict.outcome is Outcome.NOT_VALIDATED


@pytest.mark.parametrize(
    ("service", "second", "outcome"),
    [("b", 10.0, "pass"), ("b", 15.005, "pass"), ("b", 4.9, "error"), ("b", 15.1, "error"), ("c", 10.0, "error")],
)
def test_a_service_that_died_of_its_fault_spoils_nothing(service: str, second: float, outcome: str) -> None:
    moment = at(second)
    assert moment is not None
    died = [{"service": service, "how": "signal 9", "watcher": False, "wall_ns": moment["wall_ns"]}]
    found = judge_services(died, evidence())
    assert found.outcome == outcome
    assert service in found.reason
    assert judge_services(died).outcome is Outcome.ERROR
