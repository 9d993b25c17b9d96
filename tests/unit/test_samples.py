"""What the recorder writes is what the reader finds; what is missing is noticed."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.load.arrivals import ArrivalLog
from harness.load.http_client import Moment
from harness.load.recorder import MOST_SERIES, Recorder
from harness.load.reply import Reply
from harness.load.sample_file import SampleFile
from harness.model.histogram import Histogram
from harness.model.load import LoadPlan
from harness.results.samples import Samples, load_samples

SECOND, MS = 1_000_000_000, 1_000_000
ORIGIN = 77 * SECOND + 5
PLAN = LoadPlan("x.py", 10.0, 1_500 * MS, 2 * SECOND, "http://127.0.0.1:1")


def request(recorder: Recorder, name: str, offset_ns: int, latency_ns: int, error: str | None = None) -> None:
    due = ORIGIN + offset_ns
    channel, moment = recorder.channel("GET", name), Moment(due, due)
    channel.sent(moment)
    channel.finished(moment, due + latency_ns // 2, due + latency_ns, Reply(0, b"", b"", error, latency_ns))


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "load-0.jsonl", PLAN)
    made.begin(ORIGIN, "load-0")
    yield made


def read(tmp_path: Path) -> Samples:
    return load_samples(tmp_path)


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "load-0.jsonl").read_text().splitlines()]


def test_samples_come_back_by_phase_name_and_outcome(recorder: Recorder, tmp_path: Path) -> None:
    request(recorder, "search", 1_499 * MS, 3 * MS)  # warm-up: decided by when it was due
    recorder.flush()
    for at in range(10):
        request(recorder, "search", 1_500 * MS + at * 100 * MS, (at + 1) * MS)
    request(recorder, "search", 3_400 * MS, 900 * MS, "timeout")
    request(recorder, "other", 2 * SECOND, 5 * MS)
    recorder.value("recall", 0.9, {"name": "search", "k": 10}, ORIGIN + 2 * SECOND)
    recorder.value("recall", 1.0, {"name": "search", "k": 10}, ORIGIN + 2 * SECOND)
    recorder.end("done")
    samples = read(tmp_path)
    assert [(worker.complete, worker.reason) for worker in samples.workers] == [(True, "")]

    latency = samples.select("latency", {"name": "search"})
    assert (latency.kind, latency.unit, latency.count) == ("trend", "ns", 11)
    assert latency.histogram.sum == 55 * MS + 900 * MS and latency.histogram.max == 900 * MS
    assert {second: series.count for second, series in latency.seconds.items()} == {1: 5, 2: 5, 3: 1}
    assert samples.select("latency", {"name": "search", "outcome": "ok"}).histogram.max == 10 * MS
    assert samples.select("service_time", {"outcome": "timeout"}).histogram.max == 450 * MS
    assert samples.select("latency", {}, "warmup").count == 1
    assert samples.select("latency", {}).count == 12

    errors = samples.select("errors", {"name": "search"})
    assert (errors.kind, errors.true, errors.total) == ("rate", 1, 11)
    assert samples.select("requests", {"outcome": "timeout"}).count == 1
    recall = samples.select("recall", {"k": "10"})
    assert recall.histogram.sum / recall.count / recall.scale == pytest.approx(0.95)
    assert samples.request_names() == ["other", "search"]
    counts = samples.counts("search")
    assert (counts.sent, counts.outcomes, counts.replied) == (12, {"ok": 11, "timeout": 1}, 11)
    assert samples.timeline("latency", {"name": "search"}).keys() == {1, 2, 3}


def test_what_never_occurred_is_empty_and_no_error(recorder: Recorder, tmp_path: Path) -> None:
    recorder.end("done")
    samples = read(tmp_path)
    nothing = samples.select("latency", {"name": "nobody"})
    assert (nothing.kind, nothing.count, nothing.seconds) == ("", 0, {})
    assert samples.counts("nobody").sent == 0 and samples.names() == []
    assert load_samples(tmp_path / "absent").workers == []


def test_many_samples_and_many_flushes_lose_nothing(recorder: Recorder, tmp_path: Path) -> None:
    for number in range(7000):
        request(recorder, "search", number * 500_000, 1000 + number)
        if number % 777 == 0:
            recorder.flush()
    recorder.end("done")
    whole = Histogram()
    samples = read(tmp_path)
    for phase in ("warmup", "steady"):
        whole.merge(samples.select("latency", {}, phase).histogram)
    expected = Histogram()
    expected.record([1000 + number for number in range(7000)])
    assert whole == expected
    assert samples.select("latency", {}, "warmup").count == 3000
    assert samples.counts("search").sent == 7000
    assert [record["seq"] for record in lines(tmp_path)[1:-1]] == list(range(lines(tmp_path)[-1]["records"]))


def test_an_exception_is_an_error_beside_the_requests(recorder: Recorder, tmp_path: Path) -> None:
    request(recorder, "search", 2 * SECOND, MS)
    recorder.exception("search", ORIGIN + 2 * SECOND)
    assert recorder.totals() == (1, 1, 1)
    recorder.end("done")
    errors = read(tmp_path).select("errors", {"name": "search"})
    assert (errors.true, errors.total) == (1, 2)
    assert read(tmp_path).select("errors", {"outcome": "exception"}).total == 1
    assert read(tmp_path).counts("search").outcomes == {"ok": 1}


def test_before_the_start_belongs_to_the_warm_up(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "load-0.jsonl", PLAN)
    for number in range(1500):  # more than are kept before they are folded
        request(recorder, "login", number - 20 * SECOND, MS)
    recorder.begin(ORIGIN, "load-0")
    request(recorder, "login", 10 * SECOND, MS)
    recorder.end("done")
    samples = read(tmp_path)
    counted = {phase: samples.select("latency", {}, phase).count for phase in ("warmup", "steady", "drain")}
    assert counted == {"warmup": 1500, "steady": 0, "drain": 1}


@pytest.mark.parametrize(
    ("metric", "value", "why"),
    [("recall", -0.1, "between 0"), ("recall", float("nan"), "between 0"), ("recall", 1e13, "between 0"),
     ("latency", 1.0, "cannot be the name"), ("a b", 1.0, "cannot be the name")],
)  # fmt: skip
def test_a_value_that_cannot_be_kept_is_refused(recorder: Recorder, metric: str, value: float, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        recorder.value(metric, value, {}, ORIGIN)


def test_ids_in_names_or_tags_are_noticed(recorder: Recorder) -> None:
    for number in range(MOST_SERIES):
        recorder.channel("GET", f"/item/{number}")
        recorder.value("recall", 1.0, {"id": number}, ORIGIN)
    with pytest.raises(ValueError, match="name="):
        recorder.channel("GET", "/item/x")
    with pytest.raises(ValueError, match="combinations"):
        recorder.value("recall", 1.0, {"id": "x"}, ORIGIN)


def test_arrivals_come_back_by_phase(recorder: Recorder, tmp_path: Path) -> None:
    log = ArrivalLog(PLAN)
    log.origin_ns = ORIGIN
    for offset, late in ((0, 10_000), (1_499 * MS, 2 * MS), (1_500 * MS, MS), (1_600 * MS, 7 * MS), (3 * SECOND, 0)):
        log.due(ORIGIN + offset, late)
        log.started(ORIGIN + offset)
    log.due(ORIGIN + 3_100 * MS, 0)
    log.starved(ORIGIN + 3_100 * MS)
    log.flush(recorder.file)
    log.started(ORIGIN + 3_100 * MS)  # flushed between the two: the difference goes where it belongs
    log.waited(ORIGIN + 3_100 * MS, 40 * MS)
    log.due(ORIGIN + 3_200 * MS, 0)
    log.starved(ORIGIN + 3_200 * MS)
    log.dropped(ORIGIN + 3_200 * MS)
    log.flush(recorder.file)
    recorder.end("done")
    samples = read(tmp_path)
    every, steady = samples.arrivals, samples.arrivals_in["steady"]
    assert (every.scheduled, every.started, every.dropped, every.starved, every.on_time_1ms) == (7, 6, 1, 2, 5)
    assert (steady.scheduled, steady.started, steady.lateness.max, steady.waited.max) == (5, 4, 7 * MS, 40 * MS)
    assert samples.workers[0].complete


def cut_last(raw: list[str]) -> list[str]:
    return raw[:-1]


def cut_in_the_middle_of_a_line(raw: list[str]) -> list[str]:
    return [*raw[:-1], raw[-1][: len(raw[-1]) // 2]]


def lose_one(raw: list[str]) -> list[str]:
    return [*raw[:2], *raw[3:]]


def lose_the_last_record(raw: list[str]) -> list[str]:
    return [*raw[:-2], raw[-1]]


def change_a_count(raw: list[str]) -> list[str]:
    return [line.replace('"true":0,"total":2', '"true":0,"total":1') for line in raw]


def change_a_bucket(raw: list[str]) -> list[str]:
    return [line.replace('"histogram":{"count":2', '"histogram":{"count":3') for line in raw]


@pytest.mark.parametrize(
    ("damage", "why"),
    [(cut_last, "last record"), (cut_in_the_middle_of_a_line, "last record"), (lose_one, "record 1 is missing"),
     (lose_the_last_record, "records are there"), (change_a_count, "its last line says"),
     (change_a_bucket, "cannot be read"), (lambda raw: [], "empty"),
     (lambda raw: [line.replace('"schema":1', '"schema":9') for line in raw], "schema is 9")],
)  # fmt: skip
def test_a_file_that_is_not_whole_is_told_apart(recorder: Recorder, tmp_path: Path, damage: Any, why: str) -> None:
    request(recorder, "search", 2 * SECOND, 5)
    request(recorder, "search", 2 * SECOND, 5)
    recorder.end("done")
    path = tmp_path / "load-0.jsonl"
    raw = path.read_text().splitlines()
    assert len(raw) > 5
    raw[-1] += "\n"
    path.write_text("\n".join(damage(raw)))
    (worker,) = load_samples(tmp_path).workers
    assert not worker.complete and why in worker.reason


def test_an_end_that_was_not_planned_is_told(recorder: Recorder, tmp_path: Path) -> None:
    request(recorder, "search", 2 * SECOND, 5)
    recorder.end("error", "3 arrivals were still under way")
    (worker,) = read(tmp_path).workers
    assert (worker.complete, worker.reason) == (False, "error: 3 arrivals were still under way")
    assert read(tmp_path).counts("search").sent == 1


def test_memory_does_not_grow_with_the_number_of_requests(tmp_path: Path) -> None:
    """Of one second that never ends, so that nothing is written down meanwhile."""
    recorder, arrivals = Recorder(tmp_path / "load-0.jsonl", PLAN), ArrivalLog(PLAN)
    recorder.begin(ORIGIN, "load-0")
    arrivals.origin_ns = ORIGIN

    def many(count: int) -> int:
        for number in range(count):
            request(
                recorder, "search", 2 * SECOND, 1 * MS + number % 997 * 1000, "timeout" if number % 9 == 0 else None
            )
            recorder.value("recall", number % 11 / 10, {"name": "search"}, ORIGIN + 2 * SECOND)
            arrivals.due(ORIGIN + 2 * SECOND, number % 1000)
            arrivals.waited(ORIGIN + 2 * SECOND, number % 1000)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        few = many(9_000)
        assert many(36_000) < 1.05 * few + 100_000  # what has not been sorted in yet: a thousand of each
    finally:
        tracemalloc.stop()
    arrivals.flush(recorder.file)
    recorder.end("done")
    samples = read(tmp_path)
    assert samples.counts("search").outcomes == {"ok": 40_000, "timeout": 5_000}
    assert samples.select("latency", {}).count == samples.select("recall", {}).count == 45_000
    assert samples.arrivals.lateness.count == samples.arrivals.waited.count == 45_000


def test_a_file_that_was_removed_is_no_silence(tmp_path: Path) -> None:
    file = SampleFile(tmp_path / "load-0.jsonl")
    file.hello(worker="load-0")
    (tmp_path / "load-0.jsonl").unlink()
    with pytest.raises(OSError, match="is gone"):
        file.counter("sent", {"name": "search"}, (0, "steady"), 1)


def test_a_full_disk_is_no_silence() -> None:
    with pytest.raises(OSError, match="space"):
        SampleFile(Path("/dev/full")).hello(worker="load-0")
