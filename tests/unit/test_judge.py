"""The judge on recorded samples: what passes, what fails, and all the ways in which nothing is proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.outcome import Outcome
from harness.load.arrivals import ArrivalLog
from harness.load.http_client import Moment
from harness.load.recorder import Recorder
from harness.load.reply import Reply
from harness.model.load import EXECUTORS, LoadPlan
from harness.model.phases import Phase
from harness.model.threshold import parse_threshold
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from harness.slo.conditions import judge_generator, judge_services
from harness.slo.counts import judge_counts
from harness.slo.judge import judge
from harness.slo.thresholds import judge_threshold, samples_needed

MS, SECOND = 1_000_000, 1_000_000_000
STEADY = Phase("steady", 0, 5 * SECOND)
PLAN = LoadPlan(scenario="s.py", rate=200, warmup_ns=0, duration_ns=5 * SECOND, host="http://127.0.0.1")


def recorded(directory: Path, *, late_ns: int = 20_000, started: int = 1000, dropped: bool = False) -> Samples:
    """1,000 requests: of a hundred each, 99 of 10 ms and ok, then one of 500 ms that fails."""
    directory.mkdir(exist_ok=True)
    recorder, arrivals = Recorder(directory / "load-0.jsonl", PLAN), ArrivalLog(PLAN)
    recorder.begin(SECOND, "load-0")
    arrivals.origin_ns = SECOND
    channel = recorder.channel("POST", "search")
    for number in range(1000):
        due = SECOND + number * SECOND // 200
        arrivals.due(due, late_ns)
        if number < started:
            arrivals.started(due)
        elif dropped:
            arrivals.dropped(due)
        failed = number % 100 == 99
        latency = (500 if failed else 10) * MS
        moment = Moment(due, due)
        channel.sent(moment)
        channel.finished(moment, due, due + latency, Reply(0, b"", b"", "reset" if failed else None, latency))
    arrivals.flush(recorder.file)
    recorder.end("done")
    return load_samples(directory)


@pytest.mark.parametrize(
    ("selector", "condition", "outcome"),
    [
        ("latency{name:search}", "p(95)<15ms", Outcome.PASS),
        ("latency{name:search}", "p(98)<15ms", Outcome.PASS),
        ("latency{name:search}", "p(99)<15ms", Outcome.INCONCLUSIVE),  # 1 % is slower: at the limit
        ("latency{name:search}", "p(99)<10ms", Outcome.FAIL),
        ("latency{name:search}", "p(99.8)<15ms", Outcome.FAIL),  # ten misses where two were promised
        ("latency{name:search}", "p(99.9)<600ms", Outcome.INCONCLUSIVE),  # too few, though all are quicker
        ("latency{name:search}", "max<400ms", Outcome.FAIL),
        ("latency{name:search,outcome:ok}", "max<11ms", Outcome.PASS),
        ("latency{name:search}", "avg<10ms", Outcome.FAIL),
        ("latency{name:search}", "avg<15ms", Outcome.INCONCLUSIVE),  # 14.9 ms, by ten values of 500 ms
        ("latency{name:search}", "avg<20ms", Outcome.PASS),
        ("latency{name:search}", "rate<1", Outcome.ERROR),
        ("latency{name:other}", "p(99)<15ms", Outcome.NO_DATA),
        ("latency{name:other}", "count<1", Outcome.NO_DATA),
        ("errors{name:search}", "rate<2%", Outcome.PASS),
        ("errors{name:search}", "rate<=1%", Outcome.INCONCLUSIVE),
        ("errors{name:search}", "rate<0.4%", Outcome.FAIL),
        ("errors{name:search}", "rate==1%", Outcome.PASS),
        ("requests{name:search}", "rate>=200/s", Outcome.PASS),
        ("requests{name:search}", "count==1000", Outcome.PASS),
        ("requests{name:search,outcome:reset}", "count<10", Outcome.FAIL),
    ],
)
def test_thresholds(tmp_path: Path, selector: str, condition: str, outcome: Outcome) -> None:
    finding = judge_threshold(parse_threshold(selector, condition), recorded(tmp_path), STEADY)
    assert finding.outcome is outcome, finding.reason
    assert (finding.reason != "") == (outcome is not Outcome.PASS)


def test_a_failure_says_by_how_much(tmp_path: Path) -> None:
    finding = judge_threshold(parse_threshold("latency{name:search}", "max<400ms"), recorded(tmp_path), STEADY)
    assert finding.observed == pytest.approx(0.5)
    assert finding.margin == pytest.approx(-0.25)
    assert finding.reason == "observed 500ms, promised max<400ms, 25% outside"


def test_the_numbers_of_samples_that_decide_are_those_of_the_binomial_bound() -> None:
    assert (samples_needed(0.99), samples_needed(0.999), samples_needed(0.95)) == (459, 4603, 90)


def test_a_percentile_passes_only_with_samples_enough_whatever_its_interval_says(tmp_path: Path) -> None:
    """The interval of 400 values that are all equal decides at 97.5 %, the floor is 99 %: 459 samples for p99."""
    found = {}
    for number in (458, 459):
        directory = tmp_path / str(number)
        directory.mkdir()
        recorder = Recorder(directory / "load-0.jsonl", PLAN)
        recorder.begin(SECOND, "load-0")
        for at in range(number):
            recorder.value("depth", 1.0, {}, SECOND + at * 5 * SECOND // number)
        recorder.end("done")
        found[number] = judge_threshold(parse_threshold("depth", "p(99)<2"), load_samples(directory), STEADY)
    assert (found[458].outcome, found[458].slug) == (Outcome.INCONCLUSIVE, "too-few-samples")
    assert "458 samples; p(99)<2 needs 459" in found[458].reason
    assert found[459].outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("after", "outcome", "slug"),
    [
        (1100, "pass", ""),
        (1099, "error", "counts-disagree"),
        (1101, "error", "counts-disagree"),
        (40, "error", "counts-disagree"),
    ],
)
def test_counts_agree_exactly_or_nothing_is_proven(after: int, outcome: str, slug: str) -> None:
    evidence = {"service": "app", "series": "requests_total", "before": 100, "after": after}
    finding = judge_counts("search", 1000, evidence)
    assert (finding.outcome, finding.slug) == (outcome, slug)
    assert ("began anew" in finding.reason) == (after < 100)


def test_a_request_without_a_counter_is_an_error() -> None:
    assert judge_counts("search", 1000, None).slug == "counter-undeclared"


def test_the_generator_answers_for_its_own_lateness_and_losses(tmp_path: Path) -> None:
    assert judge_generator(recorded(tmp_path / "a"), 5 * MS).outcome is Outcome.PASS
    late = judge_generator(recorded(tmp_path / "b", late_ns=9 * MS), 5 * MS)
    assert (late.outcome, late.slug) == (Outcome.ERROR, "generator-saturated")
    lost = judge_generator(recorded(tmp_path / "c", started=999), 5 * MS)
    assert (lost.outcome, lost.slug) == (Outcome.ERROR, "arrivals-lost")
    dropped = judge_generator(recorded(tmp_path / "d", started=999, dropped=True), 5 * MS)
    assert (dropped.outcome, dropped.slug) == (Outcome.FAIL, "arrivals-dropped")
    both = judge_generator(recorded(tmp_path / "e", started=999, dropped=True, late_ns=9 * MS), 5 * MS)
    assert (both.outcome, both.slug) == (Outcome.ERROR, "generator-saturated")  # then the system is not to blame


def arrivals(directory: Path, plan: LoadPlan, record: Callable[[ArrivalLog, int, int], None]) -> Samples:
    """What a worker leaves of `plan`, with `record` told of each arrival: the log, when it is due, its number."""
    recorder, log = Recorder(directory / "load-0.jsonl", plan), ArrivalLog(plan)
    recorder.begin(SECOND, "load-0")
    log.origin_ns = SECOND
    for number, offset in enumerate(plan.timetable(0)):
        record(log, SECOND + offset, number)
    log.flush(recorder.file)
    recorder.end("done")
    return load_samples(directory)


WARMED = replace(PLAN, warmup_ns=3 * SECOND, duration_ns=2 * SECOND)


def test_waiting_for_a_free_user_is_not_the_generators_lateness(tmp_path: Path) -> None:
    def starved(log: ArrivalLog, due: int, number: int) -> None:
        log.due(due, 20_000)
        log.starved(due)
        log.waited(due, 400 * MS)
        log.started(due)

    samples = arrivals(tmp_path, PLAN, starved)
    finding = judge_generator(samples, 5 * MS)
    assert finding.outcome is Outcome.PASS and finding.observed == pytest.approx(20e-6, rel=0.01)
    assert (samples.arrivals.starved, samples.arrivals.waited.count) == (1000, 1000)


@pytest.mark.parametrize(
    ("late_in_warmup", "outcome"), [(True, Outcome.PASS), (False, Outcome.ERROR)], ids=["warm-up", "steady"]
)
def test_lateness_is_judged_in_the_steady_phase_alone(tmp_path: Path, late_in_warmup: bool, outcome: Outcome) -> None:
    def record(log: ArrivalLog, due: int, number: int) -> None:
        # 590 of 600, or 10 of 400: too few to be seen among all, were they judged together
        late = 10 <= number < 600 if late_in_warmup else 600 <= number < 610
        log.due(due, 9 * MS if late else 20_000)
        log.started(due)

    assert judge_generator(arrivals(tmp_path, WARMED, record), 5 * MS).outcome is outcome


def test_arrivals_that_the_warm_up_dropped_are_told_and_fail_nothing(tmp_path: Path) -> None:
    def record(log: ArrivalLog, due: int, number: int) -> None:
        log.due(due, 20_000)
        (log.dropped if number < 5 else log.started)(due)

    finding = judge_generator(arrivals(tmp_path, WARMED, record), 5 * MS)
    assert finding.outcome is Outcome.PASS and "5 arrivals of the warm-up" in finding.reason


def test_the_finding_of_a_closed_load_says_where_latency_counts_from(tmp_path: Path) -> None:
    samples = recorded(tmp_path)
    assert judge_generator(samples, 5 * MS).reason == ""
    assert "latency counts from the sending" in judge_generator(samples, 5 * MS, closed=True).reason


@pytest.mark.parametrize("executor", EXECUTORS)
def test_whether_latency_had_settled_is_asked_of_a_load_that_stays_the_same(tmp_path: Path, executor: str) -> None:
    run = RunDir.create(tmp_path, "settled")
    recorder = Recorder(run.load / "load-0.jsonl", replace(PLAN, duration_ns=20 * SECOND))
    recorder.begin(SECOND, "load-0")
    channel = recorder.channel("POST", "search")
    for number in range(4000):
        due = SECOND + number * SECOND // 200
        channel.finished(Moment(due, due), due, due + number * MS, Reply(0, b"", b"", None, number * MS))
        channel.sent(Moment(due, due))
    recorder.end("done")
    load = {"warmup": 0, "duration": 20 * SECOND, "maxLateness": 5 * MS, "executor": executor}
    run.write(
        "plan.json", {"name": "x", "load": load, "thresholds": [], "objectives": [], "allowed_unvalidated": False}
    )
    slugs = {finding.slug for finding in judge(run).findings}
    assert ("not-stationary" in slugs) == (executor in ("constant-arrival-rate", "poisson", "constant-users"))


def test_a_load_worker_that_did_not_report_in_full_proves_nothing(tmp_path: Path) -> None:
    recorded(tmp_path)
    path = tmp_path / "load-0.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))  # killed before its last line
    finding = judge_generator(load_samples(tmp_path), 5 * MS)
    assert (finding.outcome, finding.slug) == (Outcome.ERROR, "worker-incomplete")
    assert "load-0" in finding.reason


def test_a_watcher_that_died_takes_only_its_data_along() -> None:
    redis = {"service": "redis", "how": "signal 9", "watcher": False}
    prometheus = {"service": "prometheus", "how": "signal 9", "watcher": True}
    assert judge_services([]).outcome is Outcome.PASS
    assert judge_services([prometheus]).outcome is Outcome.NO_DATA
    assert judge_services([prometheus, redis]).outcome is Outcome.ERROR


def test_an_empty_run_directory_is_an_error_and_not_a_pass(tmp_path: Path) -> None:
    assert judge(RunDir.create(tmp_path, "nothing")).outcome is Outcome.ERROR


def test_what_ended_a_run_before_its_load_is_the_outcome_of_all(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "ended")
    load = {"warmup": 0, "duration": 5 * SECOND, "maxLateness": 5 * MS}
    run.write(
        "plan.json",
        {
            "name": "ended",
            "load": load,
            "thresholds": [["latency", "p(99)<1s"]],
            "objectives": [],
            "allowed_unvalidated": False,
        },
    )
    error = {"outcome": "not-validated", "slug": "missing-binary", "cause": "no milvus", "remedy": "install it"}
    run.write("evidence/error.json", error)
    verdict = judge(run)
    assert verdict.outcome is Outcome.NOT_VALIDATED
    assert [finding.outcome for finding in verdict.findings] == [Outcome.NOT_VALIDATED] * 2


def test_a_plan_without_any_evidence_does_not_pass(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "planned")
    load = {"warmup": 0, "duration": 5 * SECOND, "maxLateness": 5 * MS}
    run.write(
        "plan.json",
        {
            "name": "planned",
            "load": load,
            "thresholds": [["latency", "p(99)<1s"]],
            "objectives": [],
            "allowed_unvalidated": False,
        },
    )
    assert judge(run).outcome is Outcome.NO_DATA
