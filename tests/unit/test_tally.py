"""The counters that a kill does not lose, and what a reader makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.load.arrivals import ArrivalLog
from harness.load.recorder import Recorder
from harness.load.sink import Moment
from harness.model.load import LoadPlan
from harness.results.samples import load_samples
from harness.results.tally import NAMES, Tally, TallyFile, read_tally, write_tally

SECOND = 1_000_000_000
PLAN = LoadPlan(scenario="s.py", rate=200, warmup_ns=0, duration_ns=5 * SECOND, host="http://127.0.0.1")


def test_what_is_counted_is_in_the_file_at_once(tmp_path: Path) -> None:
    tally = TallyFile(tmp_path / "a.tally")
    search, other = tally.row("search"), tally.row("ö" * 100)
    search[0] += 3
    other[0] += 1
    tally.dispatched(7)
    tally.dispatched(12)
    found = read_tally(tmp_path / "a.tally")
    assert found is not None and tally.sent == 4
    assert (found.exact, found.arrivals, found.offset_ns, found.taken, found.behind_ns) == (True, 2, 12, 0, -1)
    assert found.sent == {"search": 3, "ö" * 60: 1}


def test_what_another_machine_told_reads_the_same(tmp_path: Path) -> None:
    told = Tally(False, 5, 99, 2, 40, 3, {"search": 4, "fetch": 1})
    write_tally(tmp_path / "a.tally", told.as_dict())
    assert read_tally(tmp_path / "a.tally") == told
    assert [path.name for path in tmp_path.iterdir()] == ["a.tally"]


def test_what_was_taken_over_past_due_is_behind_until_it_has_been_caught_up_with(tmp_path: Path) -> None:
    def seen() -> tuple[int, int, int]:
        found = read_tally(tmp_path / "a.tally")
        assert found is not None
        return found.offset_ns, found.taken, found.behind_ns

    tally = TallyFile(tmp_path / "a.tally")
    tally.dispatched(100)
    tally.taken(2, 70)
    assert seen() == (100, 2, 70)
    tally.dispatched(80)
    assert seen() == (100, 2, 80)
    tally.dispatched(101)
    assert seen() == (101, 2, -1)
    tally.taken(1, 200)  # nothing of it is due yet
    assert seen() == (101, 3, -1)


def test_a_file_that_is_not_whole_tells_nothing(tmp_path: Path) -> None:
    assert read_tally(tmp_path / "none") is None
    (tmp_path / "torn").write_bytes(b"\0" * 100)
    assert read_tally(tmp_path / "torn") is None


def test_there_is_room_for_a_thousand_names(tmp_path: Path) -> None:
    tally = TallyFile(tmp_path / "a.tally")
    for number in range(NAMES):
        tally.row(f"name {number}")[0] += 1
    with pytest.raises(ValueError, match="more than 1000"):
        tally.row("one more")
    assert tally.sent == NAMES


@pytest.mark.parametrize("exact", [True, False])
def test_what_was_sent_after_the_last_record_is_named(tmp_path: Path, exact: bool) -> None:
    recorder = Recorder(tmp_path / "load-0.jsonl", PLAN)
    recorder.begin(SECOND, "load-0")
    arrivals = ArrivalLog(PLAN, recorder.tally)
    arrivals.origin_ns = SECOND
    for number in range(5):
        due = SECOND + number * 5_000_000
        arrivals.due(due, 0)
        if number != 4:  # the last one waits for a user
            arrivals.started(due)
        recorder.channel("GET", "search").sent(Moment(due, due))
        if number == 2:
            arrivals.flush(recorder.file)
            recorder.flush()
    if not exact:
        told = read_tally(tmp_path / "load-0.tally")
        assert told is not None
        write_tally(tmp_path / "load-0.tally", told.as_dict() | {"exact": False})
    samples = load_samples(tmp_path)
    (worker,) = samples.workers
    assert (worker.lost, worker.lost_arrivals, worker.exact, worker.complete) == (2, 2, exact, False)
    assert (worker.unsent, worker.unstarted) == (1, 0)
    least = "" if exact else "at least "
    assert worker.reason == (
        f"it ended without its last record; {least}2 of the 5 requests that it sent are in no record"
    )
    assert samples.counts("search").sent == 5 and samples.without([0]).counts("search").sent == 2
