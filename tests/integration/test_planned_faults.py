"""Faults of a validation on the real system: in force on their time while the load runs on, undone whatever ends it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.jsonio import canonical
from harness.core.outcome import Outcome
from harness.gate.run import RunResult
from harness.gate.session import Session
from harness.model.events import Event, FaultEvent
from harness.results.events import read_events
from harness.results.rundir import RunDir
from harness.results.samples import load_samples
from harness.slo.faults import FAULTS_EVIDENCE
from harness.slo.judge import judge
from harness.stack.handle import Stack
from tests.integration.helpers import finding, run_one, write_validation
from tests.integration.test_partial_stack import cache_without

pytestmark = pytest.mark.stack

MS = 1_000_000


def in_force(stack: Stack) -> list[str]:
    control = stack.links.connect()
    try:
        return [one["fault"] for one in control.ask("faults")["faults"]]
    finally:
        control.close()


@pytest.fixture(scope="module")
def heard() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def done(slo_session: Session, heard: list[Event]) -> RunResult:
    """One run: latency on a link that searches take, a service that is paused, and latency where nothing comes by."""
    with tempfile.TemporaryDirectory() as directory:
        path = write_validation(
            Path(directory),
            thresholds='{"errors{name:search}": ["rate<5%"]}',
            duration="9s",
            faults="[{latency: {link: app->milvus, delay: 150ms}, at: 2s, for: 4s}, "
            "{pause: {service: refresher}, at: 3s, for: 3s}, {latency: {link: app->model-server, delay: 5ms}, at: 4s}]",
        )
        return run_one(path, replace(slo_session, handlers=[*slo_session.handlers, heard.append]))


def test_each_fault_is_in_force_on_its_time_and_undone(done: RunResult, reference_stack: Stack) -> None:
    told = done.run.read(FAULTS_EVIDENCE)["faults"]
    assert [one["id"] for one in told] == ["latency{app->milvus}", "pause{refresher}", "latency{app->model-server}"]
    for one in told:
        assert one["asked"]["begin"]["offset_ns"] >= one["planned"]["begin"]["offset_ns"]
        assert one["asked"]["begin"]["wall_ns"] <= one["in_force"]["wall_ns"] <= one["asked"]["end"]["wall_ns"]
        assert one["asked"]["end"]["offset_ns"] >= one["planned"]["end"]["offset_ns"]
        assert one["undone"] is not None and not one["cut"]
    assert in_force(reference_stack) == []
    assert reference_stack.healthy() and reference_stack.died() == []


def test_who_met_a_fault_felt_it_and_the_load_was_not_held_up(done: RunResult) -> None:
    latency = load_samples(done.run.load).select("latency", {"name": "search"})
    for second in (4, 5):  # since the origin; the warm-up takes one
        assert latency.seconds[second].histogram.min >= 150 * MS, "each answer of Milvus was late"
    assert latency.seconds[1].histogram.min < 150 * MS and latency.seconds[8].histogram.min < 150 * MS
    arrivals = load_samples(done.run.load).arrivals
    assert arrivals.scheduled == arrivals.started == 400
    counted = finding(done, "counts/search")
    assert counted.outcome is Outcome.PASS and counted.observed == counted.target == 400


def test_there_is_a_finding_for_each_and_one_that_nothing_met_spoils_the_run(done: RunResult) -> None:
    slow, paused = finding(done, "faults/latency{app->milvus}"), finding(done, "faults/pause{refresher}")
    assert (slow.outcome, paused.outcome) == (Outcome.PASS, Outcome.PASS), (slow, paused)
    assert "in force from 2." in slow.reason and "an echo took" in slow.reason and "delayed" in slow.reason
    unmet = finding(done, "faults/latency{app->model-server}")
    assert (unmet.outcome, unmet.slug) == (Outcome.ERROR, "fault-without-effect")
    assert finding(done, "stack/services").outcome is Outcome.PASS
    assert [one.id for one in done.verdict.findings if one.id.startswith("stationarity")] == []
    assert done.verdict.outcome is Outcome.ERROR
    again = canonical(judge(RunDir(done.run.path)).as_dict())
    assert again == (done.run.path / "verdict.json").read_bytes()
    assert [one["at"] for one in done.run.read("plan.json")["faults"]] == [2000 * MS, 3000 * MS, 4000 * MS]


def test_their_events_are_in_the_stream_and_heard(done: RunResult, heard: list[Event]) -> None:
    stored = [one for one in read_events(done.run.events) if one["kind"] == "fault"]
    assert {one["producer"] for one in stored} == {"faults"}
    edges = {(one["fault"], one["touches"][0], one["edge"]) for one in stored}
    assert edges >= {("latency", "link app->milvus", "begin"), ("pause", "service refresher", "end")}
    assert len([one for one in heard if isinstance(one, FaultEvent)]) == len(stored) == 6


def test_a_run_that_is_stopped_under_a_fault_ends_it_first(
    slo_session: Session, reference_stack: Stack, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, FaultEvent) and event.edge == "begin":
            raise KeyboardInterrupt

    path = write_validation(tmp_path, duration="60s", faults="[{latency: {link: app->milvus, delay: 150ms}}]")
    stopped = run_one(path, replace(slo_session, handlers=[stop]))
    assert stopped.verdict.outcome is Outcome.INTERRUPTED
    (told,) = stopped.run.read(FAULTS_EVIDENCE)["faults"]
    assert told["undone"] is not None and told["cut"]
    assert finding(stopped, "faults/").outcome is Outcome.PASS
    assert in_force(reference_stack) == []


def test_a_breach_ends_the_faults_with_the_load(slo_session: Session, reference_stack: Stack, tmp_path: Path) -> None:
    path = write_validation(
        tmp_path,
        thresholds='{"latency{name:search}": ["max<1us"], "errors{name:search}": ["rate<3%"]}',
        duration="60s",
        faults="[{latency: {link: app->milvus, delay: 20ms}}, {pause: {service: refresher}, at: 50s}]",
    )
    ended = run_one(path, replace(slo_session, abort_grace_ns=1_000 * MS))
    assert finding(ended, "thresholds/latency").slug == "breach-aborted"
    assert finding(ended, "faults/latency").outcome is Outcome.PASS
    assert finding(ended, "faults/pause").slug == "cut-short"
    assert in_force(reference_stack) == []


def test_a_fault_that_this_machine_cannot_have_is_not_validated_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_without(tmp_path, "loki")))
    path = write_validation(tmp_path, needs="[milvus]", faults="[{blackhole: {link: app->loki}}]")
    with Session(tmp_path / "results", reuse=False) as session:
        refused = run_one(path, session)
    assert refused.verdict.outcome is Outcome.NOT_VALIDATED
    ending = finding(refused, "run/completed")
    assert ending.slug == "fault-unavailable" and "loki" in ending.reason and "remedy: " in ending.reason
    assert not (refused.run.evidence / "stack.json").exists(), "no stack was started"
