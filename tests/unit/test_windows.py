"""Thresholds over sliding windows: what a whole-run average hides, a window shows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.histogram import buckets_of
from harness.model.phases import Phase
from harness.model.threshold import parse_threshold
from harness.results.samples import Samples
from harness.results.series import Packed, Series
from harness.slo.thresholds import judge_threshold
from harness.slo.windows import windows

SECONDS, RATE = 120, 100
STEADY = Phase("steady", 3_000_000_000, (3 + SECONDS) * 1_000_000_000)


def errors(failed: dict[int, int], *, missing: range = range(0)) -> Series:
    """100 requests a second, of which so many fail in the seconds of the steady phase that are named."""
    series = Series()
    for second in range(SECONDS):
        if second not in missing:
            series.add({"type": "rate", "second": second + 3, "true": failed.get(second, 0), "total": RATE})
    return series


def judged(series: Series, condition: str) -> Finding:
    samples = Samples()
    samples._selected["errors", (), "steady"] = series
    return judge_threshold(parse_threshold("errors", condition), samples, STEADY)


CRASH = dict.fromkeys(range(110, 120), 90)


def test_a_crash_in_the_last_ten_seconds_does_not_hide_in_the_average() -> None:
    assert judged(errors(CRASH), "rate<50%").outcome is Outcome.PASS
    found = judged(errors(CRASH), "rate<50% over 10s")
    assert (found.outcome, found.slug) == (Outcome.FAIL, "threshold-missed")
    assert found.observed == pytest.approx(0.9)
    assert found.reason.startswith("in the window from 110 s to 120 s of the steady phase: observed 90 %")


def test_every_window_that_holds_makes_a_pass() -> None:
    found = judged(errors({}), "rate<5% over 10s")
    assert (found.outcome, found.observed, found.reason) == (Outcome.PASS, 0.0, "")


def test_windows_slide_by_a_second_and_reach_to_both_ends() -> None:
    every = windows(parse_threshold("errors", "rate<5% over 10s"), errors({}), STEADY)
    assert [window.start for window in every] == list(range(111))
    assert {window.samples for window in every} == {10 * RATE}


def test_a_phase_that_begins_within_a_second_is_covered_to_its_edges() -> None:
    steady = Phase("steady", 2_500_000_000, 12_500_000_000)  # seconds 2 to 12, the outer ones by half
    series = Series()
    for second in range(2, 13):
        series.add({"type": "rate", "second": second, "true": 0, "total": 1})
    every = windows(parse_threshold("errors", "rate<5% over 10s"), series, steady)
    assert [(window.start, window.samples) for window in every] == [(0, 10), (1, 10)]


def test_a_window_without_samples_is_no_data_and_says_where() -> None:
    found = judged(errors({}, missing=range(40, 52)), "rate<5% over 10s")
    assert (found.outcome, found.slug) == (Outcome.NO_DATA, "no-samples")
    assert "no sample in the window from 40 s to 50 s" in found.reason


def test_an_outage_within_a_window_is_no_accident_of_its_samples() -> None:
    """Four seconds of ten without any reply: alike as they are, these seconds were what they were."""
    found = judged(errors(dict.fromkeys(range(60, 64), RATE)), "rate<5% over 10s")
    assert (found.outcome, found.observed) == (Outcome.FAIL, pytest.approx(0.4))


def test_a_window_that_fails_is_told_before_one_without_samples() -> None:
    found = judged(errors(dict.fromkeys(range(20, 30), RATE), missing=range(40, 52)), "rate<5% over 10s")
    assert found.outcome is Outcome.FAIL and "from 20 s to 30 s" in found.reason


def test_a_window_that_is_undecided_keeps_the_whole_undecided() -> None:
    found = judged(errors({50: 40}), "rate<5% over 10s")
    assert (found.outcome, found.slug) == (Outcome.INCONCLUSIVE, "not-decided")
    assert "from 41 s to 51 s" in found.reason and "1000 samples" in found.reason


def test_a_window_with_too_few_samples_for_its_percentile_does_not_pass() -> None:
    series = Series()
    for second in range(SECONDS):
        histogram = _histogram(np.full(30, 1_000_000))
        series.add({"type": "trend", "unit": "ns", "second": second + 3, "histogram": histogram})
    samples = Samples()
    samples._selected["latency", (), "steady"] = series
    whole = judge_threshold(parse_threshold("latency", "p(99)<80ms"), samples, STEADY)
    found = judge_threshold(parse_threshold("latency", "p(99)<80ms over 10s"), samples, STEADY)
    assert whole.outcome is Outcome.PASS
    assert (found.outcome, found.slug) == (Outcome.INCONCLUSIVE, "too-few-samples")
    assert "300 samples, a window needs 459" in found.reason


def test_many_windows_do_not_make_chance_a_failure() -> None:
    """At 4.5 % where 5 % are promised, some windows of ten seconds lie above by chance; none is called broken."""
    random = np.random.default_rng(7)
    for _ in range(60):
        counts = random.binomial(RATE, 0.045, SECONDS)
        found = judged(errors(dict(enumerate(counts.tolist()))), "rate<5% over 10s")
        assert found.outcome is Outcome.INCONCLUSIVE
        assert found.observed is not None and found.observed > 0.05


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [("rate==0 over 10s", Outcome.FAIL), ("count>=1000 over 10s", Outcome.PASS), ("count>1000 over 10s", Outcome.FAIL)],
)
def test_facts_are_judged_window_by_window(condition: str, outcome: Outcome) -> None:
    assert judged(errors({60: 1}), condition).outcome is outcome


def _histogram(values: npt.NDArray[np.int64]) -> Packed:
    buckets, counts = np.unique(buckets_of(values), return_counts=True)
    return Packed(len(values), int(values.sum()), int(values.min()), int(values.max()), buckets, counts)
