"""A breach ends the load: what was under way is answered and recorded, and what is left is judged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.jsonio import canonical
from harness.core.outcome import Outcome
from harness.gate.run import _drive
from harness.load.engine import LoadEngine
from harness.model.events import LogEvent
from harness.model.finding import Verdict
from harness.model.load import LoadPlan
from harness.model.phases import PHASES_EVIDENCE, Timeline
from harness.model.validation import load_validations
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from harness.slo.breach import ABORT_EVIDENCE
from harness.slo.judge import judge
from tests.integration.helpers import write_validation
from tests.integration.load_target import Target, load_target
from tests.integration.test_load_run import SIMPLE, scenario

pytestmark = pytest.mark.stack
SECOND = 1_000_000_000
PROMISES = '{"errors{name:search}": ["rate<5%"], "latency{name:search}": ["p(95)<5s", "max<10s"]}'
LOGOUT = (
    SIMPLE
    + """
    def on_stop(self):
        self.client.get("/ok", name="logout")
"""
)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with load_target() as found:
        yield found


class Run:
    """One load of the gate on a bare target, without a stack: its samples, its evidence and its verdict."""

    def __init__(self, directory: Path, target: Target, path: str, duration: str, workers: int = 1) -> None:
        text = LOGOUT.replace('"/ok", json', f'"{path}", json')
        (validation,) = load_validations(
            write_validation(
                directory, thresholds=PROMISES, duration=duration, scenario=Path(scenario(directory, text))
            )
        )
        load = validation.load
        self.run = RunDir.create(directory / "results", "abort")
        self.plan = LoadPlan(
            str(validation.scenario), load.rate, load.warmup, load.duration, target.host, workers=workers
        )
        described = validation.as_dict()
        described["load"]["workers"] = workers
        self.run.write(
            "plan.json",
            {**described, "objectives": [], "allowed_unvalidated": False, "abort_grace": SECOND},
        )
        before, writer = target.counts(), self.run.writer("gate")
        self.events: list[object] = []
        writer.handlers = [self.events.append]
        engine = LoadEngine(self.plan, self.run)
        try:
            engine.prepare()
            self.timeline: Timeline = _drive(engine, validation, self.run, writer, SECOND)
        finally:
            engine.stop()
            writer.close()
        self.served = sum(target.counts().get(one, 0) - before.get(one, 0) for one in ("/ok", "/503"))

    @property
    def samples(self) -> Samples:
        return load_samples(self.run.load)

    def verdict(self) -> Verdict:
        return judge(self.run)


def test_a_broken_target_is_left_alone_long_before_the_end(tmp_path: Path, target: Target) -> None:
    done = Run(tmp_path, target, "/503", "60s", workers := 2)
    samples, steady = done.samples, done.timeline.steady
    # broken is known after blocks of two seconds, so that seconds and not the minute went by
    assert SECOND < steady.seconds * SECOND < 30 * SECOND
    assert done.run.read(PHASES_EVIDENCE) == done.timeline.as_dict()
    assert [(worker.complete, worker.reason) for worker in samples.workers] == [(True, "")] * workers
    arrivals, counts = samples.arrivals, samples.counts("search")
    assert arrivals.scheduled == arrivals.started == counts.sent == counts.replied
    # all that were due before the end, and none that was due later
    assert arrivals.scheduled == done.plan.cut(steady.end_ns).arrivals < done.plan.arrivals
    assert done.served == counts.sent + samples.counts("logout").sent
    assert samples.select("latency", {"name": "search"}).count == samples.arrivals_in["steady"].scheduled
    assert samples.select("latency", {"name": "logout"}).count == 0  # after the end, which came early
    abort = done.run.read(ABORT_EVIDENCE)
    assert abort["threshold"] == "thresholds/errors{name:search}/rate<5%"
    assert abort["seen"] == abort["samples"] >= 40 * abort["seconds"] and abort["chance"] <= abort["alpha"]
    verdict = done.verdict()
    assert verdict.outcome is Outcome.FAIL
    found = {one.id: one for one in verdict.findings}
    breach = found[abort["threshold"]]
    assert (breach.outcome, breach.slug) == (Outcome.FAIL, "breach-aborted")
    assert f"{abort['samples']} of {abort['samples']} samples missed" in breach.reason
    assert found["thresholds/latency{name:search}/p(95)<5s"].outcome is Outcome.PASS
    assert found["thresholds/latency{name:search}/max<10s"].slug == "cut-short"
    assert found["generator/arrivals"].outcome is Outcome.PASS
    assert any(isinstance(event, LogEvent) and "broken beyond doubt" in event.message for event in done.events)
    assert canonical(done.verdict().as_dict()) == canonical(verdict.as_dict())


def test_a_healthy_target_is_loaded_to_the_end(tmp_path: Path, target: Target) -> None:
    done = Run(tmp_path, target, "/ok", "5s")
    assert not (done.run.path / ABORT_EVIDENCE).exists()
    assert done.timeline.steady.end_ns == done.plan.length_ns == 6 * SECOND
    assert done.samples.arrivals.scheduled == done.plan.arrivals == 240
    assert done.served == done.samples.counts("search").sent + done.samples.counts("logout").sent
    (told,) = [event.message for event in done.events if isinstance(event, LogEvent)]
    assert "errors{name:search} rate<5%" in told and "not:" not in told
