"""What spoils a measurement though every promise seems kept."""

from __future__ import annotations

from pathlib import Path

from harness.core.outcome import Outcome
from harness.load.recorder import Recorder
from harness.model.load import LoadPlan
from harness.results.samples import load_samples
from harness.slo.conditions import judge_exceptions
from harness.slo.counts import judge_counts
from harness.telemetry.line_file import copy_lines

SECOND = 1_000_000_000
PLAN = LoadPlan(scenario="s.py", rate=200, warmup_ns=SECOND, duration_ns=5 * SECOND, host="http://127.0.0.1")


def test_a_task_that_raised_spoils_what_its_scenario_measured(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "load-0.jsonl", PLAN)
    recorder.begin(SECOND, "load-0")
    for second in (3, 4):
        recorder.exception("read", second * SECOND)
    recorder.end("done")
    found = judge_exceptions(load_samples(tmp_path))
    assert found is not None
    assert (found.outcome, found.slug, found.observed) == (Outcome.ERROR, "scenario-raised", 2.0)
    assert "2 tasks" in found.reason


def test_a_scenario_that_raised_nowhere_has_no_finding_of_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "load-0.jsonl", PLAN)
    recorder.begin(SECOND, "load-0")
    recorder.end("done")
    assert judge_exceptions(load_samples(tmp_path)) is None


def test_the_counter_of_a_service_that_cannot_be_had_is_not_validated() -> None:
    error = {"slug": "service-unavailable", "cause": "no such program", "outcome": "not-validated"}
    found = judge_counts("search", 10, {"service": "app", "series": "x_total", "error": error})
    assert (found.outcome, found.reason) == (Outcome.NOT_VALIDATED, "no such program")


def test_a_line_that_a_killed_sink_tore_costs_nobody_else(tmp_path: Path) -> None:
    whole = [b'{"at": 1}\n', b'{"at": 2}\n']
    (tmp_path / "lines").write_bytes(whole[0] + b'{"at": 1, "na' + whole[1] + b'{"other": 1}\n' + whole[1])
    assert copy_lines(tmp_path / "lines", tmp_path / "kept", "at", 0, 9) == 2
    assert (tmp_path / "kept").read_bytes() == whole[0] + whole[1]
