"""A real Prometheus and an exporter that can be told what to say: nothing that is missing may ever pass."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.core.clock import wall_ns
from harness.core.outcome import Outcome
from harness.slo.objectives import Window
from harness.telemetry.metrics import Instant, PrometheusStore, QueryFailed, Range
from tests.integration.metrics_lab import WINDOW_NS, Lab, await_first_scrape, judge, lab_in, server_that_says

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab_in(tmp_path_factory.mktemp("lab")) as lab:
        await_first_scrape(lab)
        yield lab


def test_the_port_answers_in_types(lab: Lab) -> None:
    version = lab.store.buildinfo()
    assert isinstance(version, str)
    assert version[0].isdigit()
    targets = lab.store.targets()
    assert not isinstance(targets, QueryFailed)
    assert sorted((t.job, t.interval, t.health) for t in targets) == [("app", 0.2, "up"), ("prometheus", 0.2, "up")]
    at = lab.say('special{kind="nan"} NaN\nspecial{kind="inf"} -Inf\nspecial{kind="one"} 1\n')
    answer = lab.store.instant("special")
    assert isinstance(answer, Instant)
    assert {point.labels["kind"]: str(point.value) for point in answer.series} == {
        "nan": "nan",
        "inf": "-inf",
        "one": "1.0",
    }
    scalar = lab.store.instant("scalar(vector(7))")
    assert isinstance(scalar, Instant)
    assert [(dict(point.labels), point.value) for point in scalar.series] == [({}, 7.0)]
    lab.scraped(at + 1_000_000_000)
    raw = lab.store.raw('special{kind="one"}', at, at + 1_000_000_000)
    stepped = lab.store.range('special{kind="one"}', at, at + 1_000_000_000, 0.25)
    assert isinstance(raw, Range)
    assert isinstance(stepped, Range)
    assert len(stepped.series[0].samples) == 5
    times = [t for t, _ in raw.series[0].samples]
    assert 3 <= len(times) <= 6
    assert all(at // 1_000_000 <= round(t * 1000) and t <= at / 1e9 + 1 for t in times)
    for earlier, kept in ((0, times), (1, times[1:])):  # both ends belong to it, to the millisecond, on any version
        since = round(times[0] * 1000 + earlier) * 1_000_000
        again = lab.store.raw('special{kind="one"}', since, at + 1_000_000_000)
        assert isinstance(again, Range)
        assert [t for t, _ in again.series[0].samples] == kept


def test_a_quantile_and_a_ratio_pass_on_real_samples(lab: Lab) -> None:
    buckets = 'lat_bucket{{le="0.1"}} {0}\nlat_bucket{{le="0.25"}} {1}\nlat_bucket{{le="+Inf"}} {1}\n'
    text = buckets + "good_total {0}\nall_total {1}\n"
    start = lab.say(text.format(1000, 1000))
    lab.say(text.format(1095, 1100))
    query = "histogram_quantile(0.9, sum by (le) (rate(lat_bucket[$window])))"
    found = lab.judge(start, queries={"value": query}, target=0.25)
    assert (found.outcome, found.query) == (Outcome.PASS, query.replace("$window", "2400ms")), found.reason
    assert found.observed == pytest.approx(0.0947, rel=0.05)
    assert found.samples >= 30
    found = lab.judge(start, queries={"good": "good_total", "total": "sum(all_total)"}, target=0.8)
    assert (found.outcome, found.observed) == (Outcome.PASS, 0.95)
    found = lab.judge(start, queries={"good": "good_total", "total": "sum(all_total)"}, target=0.99)
    assert found.outcome is Outcome.FAIL


def test_an_absent_series_is_no_data(lab: Lab) -> None:
    start = lab.say("present 1\n")
    for query in ("gone", "present - gone", "absent(gone) - 1", "rate(gone[$window])"):
        found = lab.judge(start, queries={"value": query})
        assert (found.outcome, "no series gone" in found.reason) == (Outcome.NO_DATA, True), found


def test_what_is_no_number_is_no_data(lab: Lab) -> None:
    start = lab.say("maybe NaN\nzero 0\npresent 1\n")
    for query in ("maybe", "zero / zero", "present / zero", "present * +Inf"):
        found = lab.judge(start, queries={"value": query}, operator=">", target=-1.0)
        assert (found.outcome, "nothing was measured" in found.reason) == (Outcome.NO_DATA, True), found


def test_a_target_that_was_down_in_the_window_is_no_data(lab: Lab) -> None:
    start = lab.say("steady 1\n")
    lab.says.unlink()
    lab.scraped(start + WINDOW_NS // 2)
    lab.say("steady 1\n")
    found = lab.judge(start, queries={"value": "steady"}, target=2.0, length_ns=WINDOW_NS + 600_000_000)
    assert found.outcome is Outcome.NO_DATA
    assert "scrapes of app (127.0.0.1:" in found.reason
    after = lab.scraped()
    assert lab.judge(after, queries={"value": "steady"}, target=2.0).outcome is Outcome.PASS


def test_a_counter_that_restarts_in_the_window_is_counted_on(lab: Lab) -> None:
    lab.say("some_total 500\nall_total 1000\n")
    start = wall_ns()  # no sample lies between this and the rise: raw differences see it, increase() would not
    lab.say("some_total 590\nall_total 1100\n")
    lab.say("some_total 9\nall_total 10\n")
    found = lab.judge(start, queries={"good": "some_total", "total": "all_total"}, target=0.8)
    assert (found.outcome, found.observed) == (Outcome.PASS, 0.9)


def test_several_series_are_summed_in_a_ratio_and_each_must_hold_in_a_threshold(lab: Lab) -> None:
    text = 'all_total{{c="a"}} {0}\nall_total{{c="b"}} {1}\nbad_total{{c="a"}} {2}\nbad_total{{c="b"}} {3}\n'
    lab.say(text.format(10, 20, 1, 2))
    start = wall_ns()
    lab.say(text.format(70, 60, 2, 8))
    found = lab.judge(start, queries={"bad": "bad_total", "total": "all_total"}, target=0.8)
    assert (found.outcome, found.observed) == (Outcome.PASS, 0.93)
    found = lab.judge(start, queries={"value": "bad_total / all_total"}, target=0.1)
    assert found.outcome is Outcome.FAIL
    assert found.observed == pytest.approx(8 / 60)
    assert "worst of 2 series" in found.reason


def test_nothing_of_nothing_is_no_data(lab: Lab) -> None:
    start = lab.say("good_total 5\nall_total 5\n")
    found = lab.judge(start, queries={"good": "good_total", "total": "all_total"})
    assert (found.outcome, found.reason[:4]) == (Outcome.NO_DATA, "0/0:")
    queries = {"good": "sum(increase(good_total[$window]))", "total": "sum(increase(all_total[$window]))"}
    found = lab.judge(start, queries=queries, counter=False)
    assert (found.outcome, found.reason[:4]) == (Outcome.NO_DATA, "0/0:")


def test_a_query_that_prometheus_refuses_is_an_error(lab: Lab) -> None:
    failed = lab.store.instant("rate(up)")
    assert isinstance(failed, QueryFailed)
    assert failed.kind == "bad-query"
    # It parses, and Prometheus refuses it when it is evaluated.
    start = lab.say('one{a="1"} 1\none{a="2"} 1\ntwo{b="1"} 1\n')
    found = lab.judge(start, queries={"value": "one * on() two * on() one"})
    assert (found.outcome, found.reason.split(":")[0]) == (Outcome.ERROR, "bad-query")


def test_a_job_that_does_not_exist_is_not_waited_for_beyond_the_deadline(lab: Lab) -> None:
    assert not lab.store.wait_for_sample("nobody", wall_ns(), 0.3)
    assert not lab.store.wait_for_sample("app", wall_ns(), 0.5, targets_per_job=2)


def test_a_prometheus_that_was_killed_is_named(tmp_path: Path) -> None:
    with lab_in(tmp_path) as lab:
        await_first_scrape(lab)
        start = lab.say("steady 1\n")
        assert lab.judge(start, queries={"value": "steady"}, target=2.0).outcome is Outcome.PASS
        lab.prometheus.kill()
        lab.prometheus.wait(10)
        found = judge(lab.store, Window(start, start + WINDOW_NS), queries={"value": "steady"}, target=2.0)
        assert (found.outcome, found.observed) == (Outcome.NO_DATA, None)
        assert found.reason.startswith("store-down: nothing answers at http://127.0.0.1:")
        assert not lab.store.wait_for_sample("app", wall_ns(), 30)


RESULT = b'"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0"]}]}'


@pytest.mark.parametrize(
    ("status", "body", "length", "kind"),
    [
        (200, b'{"status":"success",' + RESULT + b',"warnings":["store a did not answer"]}', None, "partial"),
        (200, b'{"status":"success",' + RESULT, 500, "partial"),
        (200, b"<html>a proxy</html>", None, "http"),
        (200, b'{"hello":"world"}', None, "http"),
        (200, b"[]", None, "http"),
        (500, b"broken", None, "http"),
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', None, "timeout"),
        (404, b"", None, "http"),
    ],
)
def test_answers_that_are_not_to_be_believed(status: int, body: bytes, length: int | None, kind: str) -> None:
    with server_that_says(status, body, length) as url:
        store = PrometheusStore(url, timeout=5)
        failed = store.instant("up")
        store.close()
        assert isinstance(failed, QueryFailed)
        assert failed.kind == kind, failed
        assert url in failed.detail


def test_a_store_that_accepts_and_says_nothing_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        store = PrometheusStore(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=0.3)
        for answer in (store.instant("up"), store.targets(), store.raw("up", 0, 1), store.buildinfo()):
            assert isinstance(answer, QueryFailed)
            assert answer.kind == "timeout"


def test_what_breaks_at_the_end_hides_in_the_average_and_not_in_windows_and_slices(lab: Lab) -> None:
    length = 2_000_000_000
    lab.say("slow_seconds 0.1\ngood_total 0\nall_total 0\n")
    start = lab.scraped()
    lab.say("slow_seconds 0.1\ngood_total 1000\nall_total 1000\n")
    lab.scraped(start + 3_000_000_000)
    broke = lab.say("slow_seconds 0.9\ngood_total 1000\nall_total 1100\n")
    over = lab.scraped(broke + length) - start
    average = {"value": "avg_over_time(slow_seconds[$window])"}
    assert lab.judge(start, queries=average, target=0.8, length_ns=over).outcome is Outcome.PASS
    found = lab.judge(start, queries=average, target=0.8, length_ns=over, sliding_ns=length)
    assert (found.outcome, found.observed, found.query) == (
        Outcome.FAIL,
        pytest.approx(0.9),
        "avg_over_time(slow_seconds[2s])",
    )
    assert found.reason.startswith("in the window from ")
    found = lab.judge(start, queries=average, target=0.95, length_ns=over, sliding_ns=length)
    assert found.outcome is Outcome.PASS, found.reason
    counted = {"good": "good_total", "total": "sum(all_total)"}
    found = lab.judge(start, queries=counted, target=0.5, length_ns=over, sliding_ns=length)
    assert (found.outcome, found.observed) == (Outcome.FAIL, 0.0), found.reason

    def slices(**part: Any) -> dict[str, Any]:
        return {"slices": {"length_ns": length, "operator": "<", "value": 0.8, "share": None, **part}, "operator": ">="}

    found = lab.judge(start, queries=average, length_ns=over, **slices())
    assert found.outcome is Outcome.FAIL, found.reason
    assert "slices of 2s good" in found.reason
    found = lab.judge(start, queries={"value": "slow_seconds"}, length_ns=over, **slices(share=0.9))
    assert found.outcome is Outcome.FAIL, found.reason
    found = lab.judge(start, queries=average, length_ns=over, **slices(value=0.95))
    assert (found.outcome, found.observed) == (Outcome.PASS, 1.0), found.reason
