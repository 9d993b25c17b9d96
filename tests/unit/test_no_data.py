"""The no-data matrix of the client's own samples: each kind of threshold times each way in which samples are missing,
through a run directory and its verdict. The metrics store's half is tests/integration/test_no_data.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.jsonio import canonical
from harness.core.outcome import Outcome
from harness.load.arrivals import ArrivalLog
from harness.load.http_client import Moment
from harness.load.recorder import Recorder
from harness.load.reply import Reply
from harness.model.finding import Verdict
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.slo.judge import judge

MS, SECOND = 1_000_000, 1_000_000_000
WORKERS = 2
PLAN = LoadPlan(
    scenario="s.py", rate=400, warmup_ns=SECOND, duration_ns=5 * SECOND, workers=WORKERS, host="http://127.0.0.1"
)
# every kind of threshold; each passes on samples that are all there
SOURCES = {
    "quantile": ("latency{name:search}", "p(95)<80ms"),
    "rate": ("errors{name:search}", "rate<1%"),
    "count": ("requests{name:search}", "count>=2"),
    "counter's rate": ("requests{name:search}", "rate<1000/s"),
    "mean": ("recall{name:search}", "avg>=0.5"),
    "extreme": ("recall{name:search}", "min>=0.5"),
    "equality": ("errors{name:search}", "rate==0"),
}


def record(run: RunDir, worker: int, *, until_ns: int = PLAN.length_ns, values: float = 0.9) -> Path:
    """One worker's file of a run that was as it should be."""
    path = run.load / f"load-{worker}.jsonl"
    recorder, arrivals = Recorder(path, PLAN), ArrivalLog(PLAN)
    recorder.begin(SECOND, path.stem)
    arrivals.origin_ns = SECOND
    channel = recorder.channel("POST", "search")
    for offset in PLAN.timetable(worker):
        if offset >= until_ns:
            break
        due = SECOND + offset
        arrivals.due(due, 20_000)
        arrivals.started(due)
        moment = Moment(due, due)
        channel.sent(moment)
        channel.finished(moment, due, due + 10 * MS, Reply(200, b"", b"", None, 10 * MS))
        try:
            recorder.value("recall", values, {"name": "search"}, due)
        except ValueError:  # as it is in a task of a scenario
            recorder.exception("search", due)
    arrivals.flush(recorder.file)
    recorder.end("done")
    return path


def both(run: RunDir) -> list[Path]:
    return [record(run, worker) for worker in range(WORKERS)]


def nothing(run: RunDir) -> None:
    """No worker came to write a file."""


def killed(run: RunDir) -> None:
    path = both(run)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) * 3 // 4]))


def cut(run: RunDir) -> None:
    path = both(run)[1]
    path.write_bytes(path.read_bytes()[:-400])


def holed(run: RunDir) -> None:
    path = both(run)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[7:]))


def emptied(run: RunDir) -> None:
    both(run)[1].write_bytes(b"")


def missing(run: RunDir) -> None:
    both(run)[1].unlink()


def not_a_number(run: RunDir) -> None:
    for worker in range(WORKERS):
        record(run, worker, values=math.nan)


def warmup_alone(run: RunDir) -> None:
    for worker in range(WORKERS):
        record(run, worker, until_ns=PLAN.warmup_ns)


def another_metric(run: RunDir) -> None:
    for path in both(run):
        path.write_bytes(path.read_bytes().replace(b'"search"', b'"other"'))


# what is done to the samples -> what the verdict is, and what it says
CONDITIONS: dict[str, tuple[Callable[[RunDir], object], Outcome, str]] = {
    "no worker wrote": (nothing, Outcome.NO_DATA, "the client recorded nothing"),
    "nothing under that selector": (another_metric, Outcome.NO_DATA, "in the steady phase; the client recorded"),
    "warm-up alone": (warmup_alone, Outcome.NO_DATA, "in the steady phase; the client recorded"),
    "worker killed": (killed, Outcome.ERROR, "load worker load-1 did not report in full: it ended without its last"),
    "file cut": (cut, Outcome.ERROR, "load worker load-1 did not report in full: it ended without its last record"),
    "record lost": (holed, Outcome.ERROR, "load worker load-1 did not report in full: record"),
    "file empty": (emptied, Outcome.ERROR, "load worker load-1 did not report in full: its file is empty"),
    "file missing": (missing, Outcome.ERROR, "1 of 2 load workers left no file; there is only load-0"),
    "NaN recorded": (not_a_number, Outcome.ERROR, "tasks of the scenario raised in the steady phase"),
}


def verdict_of(run: RunDir, selector: str, condition: str) -> Verdict:
    load = {"warmup": PLAN.warmup_ns, "duration": PLAN.duration_ns, "maxLateness": 5 * MS, "workers": WORKERS}
    thresholds = [[selector, condition]]
    plan = {"name": "cell", "load": load, "thresholds": thresholds, "objectives": [], "allowed_unvalidated": False}
    run.write("plan.json", plan)
    counted = {"service": "app", "series": "requests_total", "before": 0, "after": PLAN.arrivals}
    run.write("evidence/counts.json", dict.fromkeys(("search", "other"), counted))
    return judge(run)


@pytest.mark.parametrize("source", SOURCES)
def test_on_samples_that_are_all_there_it_passes(tmp_path: Path, source: str) -> None:
    run = RunDir.create(tmp_path, "whole")
    both(run)
    verdict = verdict_of(run, *SOURCES[source])
    assert verdict.outcome is Outcome.PASS, [one for one in verdict.findings if one.outcome is not Outcome.PASS]


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("source", SOURCES)
def test_a_cell_never_passes_and_names_its_reason(tmp_path: Path, source: str, condition: str) -> None:
    spoil, outcome, reason = CONDITIONS[condition]
    run = RunDir.create(tmp_path, "cell")
    spoil(run)
    verdict = verdict_of(run, *SOURCES[source])
    told = [f"{one.outcome} {one.id}: {one.reason}" for one in verdict.findings]
    assert any(reason in one.reason and one.outcome is outcome for one in verdict.findings), told
    assert verdict.outcome not in (Outcome.PASS, Outcome.INCONCLUSIVE), told
    assert canonical(judge(run).as_dict()) == canonical(verdict.as_dict())
