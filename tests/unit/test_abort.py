"""Ending a load early: how often wrongly, how soon rightly, what is watched at all, and what is left of the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.core.outcome import Outcome
from harness.gate.breach import BreachWatch, told
from harness.load.http_client import Moment
from harness.load.recorder import Recorder
from harness.load.reply import Reply
from harness.model.finding import Finding
from harness.model.load import LoadPlan
from harness.model.load_spec import Load
from harness.model.phases import Timeline
from harness.model.threshold import Threshold, parse_threshold
from harness.results.samples import Samples, SampleTail, load_samples
from harness.slo.aborted import after_abort
from harness.slo.breach import ABORT_EVIDENCE, courses, watch
from harness.slo.statistics.confidence import TAIL
from harness.slo.statistics.sequential import Wealth
from harness.slo.thresholds import judge_threshold

MS, SECOND = 1_000_000, 1_000_000_000
RATE, LENGTH = 50, 30
ERRORS = "errors{name:search}"


def ended(missed: np.ndarray, each: int, allowed: float, alpha: float = TAIL) -> float:
    """The block after which a load is ended; infinite if none."""
    wealth = Wealth()
    for number, block in enumerate(missed):
        wealth.add(float(block), allowed * each)
        if wealth.breaks(alpha):
            return number + 1
    return float("inf")


@pytest.mark.parametrize(("each", "allowed"), [(120, 0.01), (40, 0.5)])
def test_at_the_limit_all_looks_together_err_no_oftener_than_alpha(each: int, allowed: float) -> None:
    random = np.random.default_rng(1)
    runs = random.binomial(each, allowed, size=(2000, 50))
    wrong = np.mean([np.isfinite(ended(run, each, allowed, 0.1)) for run in runs])
    assert wrong <= 0.1


def test_samples_may_be_alike_within_a_block() -> None:
    """All of a block miss together or none does: independent samples would be a hundred times as many."""
    random = np.random.default_rng(2)
    runs = 120 * (random.random((2000, 50)) < 0.05)
    assert np.mean([np.isfinite(ended(run, 120, 0.05, 0.1)) for run in runs]) <= 0.1


@pytest.mark.parametrize(("times", "blocks"), [(2, 22), (5, 6), (100, 2)])
def test_a_breach_is_seen_the_sooner_the_plainer_it_is(times: int, blocks: int) -> None:
    random = np.random.default_rng(3)
    runs = random.binomial(120, 0.01 * times, size=(200, 60))
    assert np.median([ended(run, 120, 0.01) for run in runs]) <= blocks


def test_where_nothing_is_allowed_one_is_a_breach() -> None:
    wealth = Wealth()
    wealth.add(0, 0)
    assert wealth.chance == 1 and not wealth.breaks(TAIL)
    wealth.add(1, 0)
    assert wealth.chance == 0 and wealth.breaks(TAIL)


@pytest.mark.parametrize(
    ("selector", "condition", "rule", "limit"),
    [
        ("latency", "p(99)<80ms", "share", 0.01),
        ("latency", "p(5)>=1ms", "share", 0.05),
        ("latency", "avg<80ms", "mean", 0.08),
        ("latency", "avg>80ms", "share", 0.92),
        ("latency", "max<1s", "fact", 0),
        ("latency", "max>1s", None, 0),
        ("latency", "min>1ms", "fact", 0),
        ("latency", "p(99)==80ms", None, 0),
        ("latency", "p(99)<80ms over 10s", None, 0),
        (ERRORS, "rate<1%", "share", 0.01),
        (ERRORS, "rate>=1%", "share", 0.99),
        (ERRORS, "rate==0", "fact", 0),
        (ERRORS, "rate==1%", None, 0),
        (ERRORS, "rate<=100%", None, 0),
        ("recall", "avg>=0.95", "share", 0.05),
        ("recall", "avg>=20", None, 0),
        ("requests", "count<=100", "fact", 0),
        ("requests", "rate<100/s", "fact", 0),
        ("requests", "count>=100", None, 0),
    ],
)
def test_what_is_watched(selector: str, condition: str, rule: str | None, limit: float) -> None:
    found = watch(parse_threshold(selector, condition))
    assert (found.rule if found else None) == rule
    if found:
        assert found.limit == pytest.approx(limit)


def test_the_error_is_divided_over_the_tests_and_facts_take_no_part() -> None:
    texts = [("latency", "p(99)<80ms"), (ERRORS, "rate<1%"), ("latency", "max<1s"), ("requests", "count>1")]
    alpha, found = courses([parse_threshold(*one) for one in texts], 0, LENGTH * SECOND)
    assert (alpha, len(found)) == (TAIL / 2, 3)


class Recorded:
    """A worker's file as it grows: RATE requests a second from second 1 on, after one second of warm-up."""

    def __init__(self, directory: Path, *, slow_every: int = 0, failed_every: int = 0, recall: float = 1.0) -> None:
        self.load = Load("constant-arrival-rate", SECOND, LENGTH * SECOND, 1, 10 * SECOND, SECOND // 200, rate=RATE)
        self.plan = LoadPlan("s.py", RATE, SECOND, LENGTH * SECOND)
        self.directory, self._second = directory, 0
        self._recorder = Recorder(directory / "load-0.jsonl", self.plan)
        self._recorder.begin(SECOND, "load-0")
        self._every = slow_every, failed_every
        self._recall = recall
        self.until(1)

    def until(self, second: int) -> int:
        """Record what was due before `second`; returns it, as the engine says how far all is settled."""
        slow_every, failed_every = self._every
        channel = self._recorder.channel("GET", "search")
        for number in range(self._second * RATE, second * RATE):
            due = SECOND + number * SECOND // RATE
            slow = slow_every and number % slow_every == 0
            failed = failed_every and number % failed_every == 0
            latency = (500 if slow else 10) * MS
            moment = Moment(due, due)
            channel.sent(moment)
            channel.finished(moment, due, due + latency, Reply(0, b"", b"", "reset" if failed else None, latency))
            self._recorder.value("recall", self._recall, {}, due)
        self._second = second
        self._recorder.flush()
        return second

    def samples(self) -> Samples:
        self._recorder.end("done")
        return load_samples(self.directory)


def first_look(recorded: Recorded, thresholds: list[Threshold], grace: int) -> dict[str, object] | None:
    looking = BreachWatch(thresholds, recorded.load, recorded.directory, grace * SECOND)
    for second in range(1, LENGTH + 2):
        if (found := looking.look(recorded.until(second))) is not None:
            return found
    return None


@pytest.mark.parametrize(
    ("fields", "selector", "condition"),
    [
        ({"slow_every": 10}, "latency{name:search}", "p(99)<80ms"),
        ({"slow_every": 2}, "latency", "avg<50ms"),
        ({"slow_every": 499}, "latency", "max<80ms"),
        ({"failed_every": 10}, ERRORS, "rate<1%"),
        ({"failed_every": 10}, ERRORS, "rate==0"),
        ({"recall": 0.5}, "recall", "avg>=0.95"),
        ({}, "requests", "count<=600"),
        ({}, "latency", "p(50)>20ms"),
    ],
)
def test_what_is_broken_beyond_doubt_ends_the_load(
    tmp_path: Path, fields: dict[str, float], selector: str, condition: str
) -> None:
    thresholds = [parse_threshold(ERRORS, "rate<50%"), parse_threshold(selector, condition)]
    found = first_look(recorded := Recorded(tmp_path, **fields), thresholds, 1)  # type: ignore[arg-type]
    assert found is not None and found["threshold"] == thresholds[1].id
    # the verdict comes to the same by itself, from the files and the number of blocks
    (_, breach) = verdict_after(recorded, thresholds, {"threshold": found["threshold"], "blocks": found["blocks"]})
    assert (breach.outcome, breach.slug) == (Outcome.FAIL, "breach-aborted"), breach.reason
    assert f"after {found['seconds']} s of the steady phase" in breach.reason
    assert ABORT_EVIDENCE in breach.evidence


@pytest.mark.parametrize(
    ("selector", "condition"),
    [
        ("latency{name:search}", "p(90)<80ms"),
        ("latency", "avg<60ms"),
        ("latency", "max<501ms"),
        (ERRORS, "rate<=10%"),
        ("recall", "avg>=0.95"),
        ("requests", "count<=1500"),
        ("latency", "p(50)>5ms"),
    ],
)
def test_what_holds_or_lies_at_the_limit_does_not(tmp_path: Path, selector: str, condition: str) -> None:
    recorded = Recorded(tmp_path, slow_every=10, failed_every=10)
    assert first_look(recorded, [parse_threshold(selector, condition)], 1) is None


def test_an_average_that_is_no_share_is_not_taken_for_one(tmp_path: Path) -> None:
    assert first_look(Recorded(tmp_path, recall=1.5), [parse_threshold("recall", "avg>=0.95")], 1) is None


@pytest.mark.parametrize("grace", [4, 10])
def test_nothing_is_looked_at_before_grace_is_over(tmp_path: Path, grace: int) -> None:
    found = first_look(Recorded(tmp_path, failed_every=1), [parse_threshold(ERRORS, "rate<1%")], grace)
    assert found is not None and (found["look"], found["seconds"]) == (1, grace)
    assert found["samples"] == found["seen"] == grace * RATE


def test_a_second_that_is_not_settled_is_not_looked_at(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, failed_every=1)
    recorded.until(LENGTH)
    looking = BreachWatch([parse_threshold(ERRORS, "rate<1%")], recorded.load, tmp_path, SECOND)
    assert looking.look(2) is None  # one settled second of the steady phase is no block
    found = looking.look(5)
    assert found is not None and found["samples"] == 4 * RATE


def test_the_tail_of_a_file_waits_for_whole_lines(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.until(3)
    whole = (tmp_path / "load-0.jsonl").read_bytes()
    (growing := tmp_path / "growing").mkdir()
    tail, seen = SampleTail(growing), 0
    for at in range(0, len(whole) + 100, 100):
        with (growing / "load-0.jsonl").open("ab") as file:
            file.write(whole[at : at + 100])
        seen += sum(record["total"] for record in tail.new() if record["metric"] == "errors")
    assert seen == 3 * RATE


def test_the_user_is_told_what_is_watched() -> None:
    load = Load("constant-arrival-rate", 5 * SECOND, 30 * SECOND, 1, 10 * SECOND, SECOND // 200, rate=RATE)
    thresholds = [parse_threshold(ERRORS, "rate<1%"), parse_threshold("requests", "count>5")]
    said = told(thresholds, load, 10 * SECOND)
    assert "from 10s of the steady phase on: errors{name:search} rate<1%; not: requests count>5" in said
    assert "no threshold can be watched" in told(thresholds[1:], load, 10 * SECOND)
    assert "never, the steady phase lasts 30s" in told(thresholds, load, 30 * SECOND)


def verdict_after(recorded: Recorded, thresholds: list[Threshold], abort: dict[str, object]) -> list[Finding]:
    samples = recorded.samples()
    end = SECOND * recorded._second
    steady = Timeline.planned(0, SECOND, LENGTH * SECOND).ended(end, end).steady
    plan = {
        "load": {"warmup": SECOND, "duration": LENGTH * SECOND},
        "thresholds": [[one.selector_text, one.condition_text] for one in thresholds],
    }
    return after_abort([judge_threshold(one, samples, steady) for one in thresholds], plan, samples, abort)


def test_a_breach_that_the_samples_do_not_show_is_an_error(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.until(12)
    threshold = parse_threshold(ERRORS, "rate<1%")
    (found,) = verdict_after(recorded, [threshold], {"threshold": threshold.id, "blocks": 5})
    assert (found.outcome, found.slug) == (Outcome.ERROR, "abort-unfounded")


@pytest.mark.parametrize(
    ("condition", "outcome", "slug"),
    [
        ("max<1s", Outcome.INCONCLUSIVE, "cut-short"),  # a slower one might have come
        ("max<400ms", Outcome.FAIL, "threshold-missed"),
        ("max>1s", Outcome.INCONCLUSIVE, "cut-short"),
        ("min>20ms", Outcome.FAIL, "threshold-missed"),
        ("count>=1000", Outcome.INCONCLUSIVE, "cut-short"),
        ("count<=500", Outcome.FAIL, "threshold-missed"),
        ("p(50)<80ms", Outcome.PASS, ""),  # judged on what there is
        ("p(99)<80ms", Outcome.FAIL, "threshold-missed"),
        ("p(99.9)<1s", Outcome.INCONCLUSIVE, "too-few-samples"),
    ],
)
def test_the_other_promises_are_judged_on_what_there_is(
    tmp_path: Path, condition: str, outcome: Outcome, slug: str
) -> None:
    recorded = Recorded(tmp_path, failed_every=2, slow_every=7)
    recorded.until(12)
    thresholds = [parse_threshold(ERRORS, "rate<1%"), parse_threshold("latency", condition)]
    breach, other = verdict_after(recorded, thresholds, {"threshold": thresholds[0].id, "blocks": 5})
    assert breach.slug == "breach-aborted"
    assert (other.outcome, other.slug) == (outcome, slug), other.reason
