"""What is exported is read back by HdrHistogram's own library, and says what was recorded."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core.errors import UsageError
from harness.load.http_client import Moment
from harness.load.recorder import Recorder
from harness.load.reply import Reply
from harness.model.hdr import hdr_encoded
from harness.model.histogram import Histogram
from harness.model.load import LoadPlan
from harness.model.phases import PHASES_EVIDENCE, Timeline
from harness.results.rundir import RunDir

MS, SECOND = 1_000_000, 1_000_000_000
HOUR = 3600 * SECOND


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 5000), st.integers(1000, HOUR), st.integers(1, 2**62)), min_size=1))
def test_hdrhistograms_own_library_reads_the_same_values(values: list[int]) -> None:
    ours = Histogram()
    ours.record(values)
    theirs = HdrHistogram.decode(hdr_encoded(ours))
    found = [
        one.value_iterated_to for one in theirs.get_recorded_iterator() for _ in range(one.count_at_value_iterated_to)
    ]
    assert len(found) == len(values)
    for exact, read in zip(sorted(values), found, strict=True):
        assert abs(read - exact) <= 0.002 * exact, (exact, read)


def test_large_counts_survive() -> None:
    ours = Histogram()
    ours.buckets = {5: 2**40, 3000: 127, 3001: 128, 3003: 1}
    ours.count, ours.min, ours.max = 2**40 + 256, 5, 8000
    assert HdrHistogram.decode(hdr_encoded(ours)).get_total_count() == ours.count


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two workers, three seconds: the first of them warm-up; one reply of ten is an error of 2 s."""
    made = RunDir.create(tmp_path, "exported")
    plan = LoadPlan("s.py", 100.0, SECOND, 2 * SECOND)
    for index in range(2):
        recorder = Recorder(made.load / f"load-{index}.jsonl", plan)
        recorder.begin(SECOND, f"load-{index}")
        drawn = random.Random(index)
        channel = recorder.channel("POST", "find, all")
        for number in range(300):
            due = SECOND + number * 10 * MS
            failed = number % 10 == 9
            end = due + (2 * SECOND if failed else drawn.randrange(MS, 9 * MS))
            channel.sent(Moment(due, due))
            channel.finished(Moment(due, due), due + MS // 2, end, Reply(0, b"", b"", "reset" if failed else None, 0))
            recorder.value("recall", 0.5, {"name": "find"}, due)
        recorder.end("done")
    made.write(PHASES_EVIDENCE, Timeline.planned(1_700_000_000 * SECOND, SECOND, 2 * SECOND).as_dict())
    return made


def exported(run: RunDir, tmp_path: Path, form: str) -> Path:
    path = tmp_path / f"out.{form}"
    done = CliRunner().invoke(app, ["export", str(run.path), "--format", form, "-o", str(path)])
    assert done.exit_code == 0, done.output
    return path


def test_the_log_of_histograms_has_every_second_of_every_series(run: RunDir, tmp_path: Path) -> None:
    path = exported(run, tmp_path, "hdr")
    lines = [line for line in path.read_text().splitlines() if line.startswith("Tag=")]
    assert [line.split(",")[:3] for line in lines[:2]] == [
        ["Tag=latency/find__all/ok", "0.000", "1.000"],
        ["Tag=latency/find__all/reset", "0.000", "1.000"],
    ]
    assert len(lines) == 3 * 4  # seconds; latency and service_time, ok and reset
    assert "#[phase steady: 1.000 to 3.000]" in path.read_text()
    reader = HistogramLogReader(str(path), HdrHistogram(1, HOUR, 3))
    totals: dict[str, int] = {}
    while (interval := reader.get_next_interval_histogram()) is not None:
        totals[interval.get_tag()] = totals.get(interval.get_tag(), 0) + interval.get_total_count()
        if interval.get_tag() == "latency/find__all/reset":
            assert interval.get_value_at_percentile(50) == pytest.approx(2 * SECOND, rel=0.002)
    assert totals == {
        f"{metric}/find__all/{outcome}": 540 if outcome == "ok" else 60
        for metric in ("latency", "service_time")
        for outcome in ("ok", "reset")
    }


def test_the_table_tells_the_same(run: RunDir, tmp_path: Path) -> None:
    rows = list(csv.DictReader(exported(run, tmp_path, "csv").open()))
    stored = json.loads(exported(run, tmp_path, "json").read_text())["seconds"]
    assert [{name: str(row[name]) for name in rows[0]} for row in stored] == rows
    ok = [row for row in stored if (row["metric"], row["outcome"]) == ("latency", "ok")]
    assert [(row["second"], row["phase"], row["count"]) for row in ok] == [
        (0, "warmup", 180), (1, "steady", 180), (2, "steady", 180)
    ]  # fmt: skip
    assert all(1 <= row["min"] <= row["p50"] <= row["p99"] <= row["max"] < 9 and row["unit"] == "ms" for row in ok)
    recall = [row for row in stored if row["metric"] == "recall"]
    assert [(row["count"], row["mean"], row["max"], row["name"]) for row in recall] == [(200, 0.5, 0.5, "find")] * 3


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [(["--format", "xml"], "bad-option"), (["-o", "no/such/place"], "file-unwritable"), ([], "not-a-run")],
)
def test_what_cannot_be_exported_is_said(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], slug: str
) -> None:
    monkeypatch.chdir(tmp_path)
    where = str(run.path) if arguments else str(tmp_path)
    done = CliRunner().invoke(app, ["export", where, *arguments])
    assert isinstance(done.exception, UsageError) and done.exception.slug == slug
