"""Intervals against tables and closed forms, and what they make of runs whose samples lean on each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from harness.core.outcome import Outcome
from harness.model.phases import Phase
from harness.model.threshold import parse_threshold
from harness.results.samples import Samples
from harness.results.series import Series
from harness.slo.estimates import share_estimate
from harness.slo.statistics.confidence import TAIL, samples_needed
from harness.slo.statistics.decision import decide, times_to_decide
from harness.slo.statistics.dependence import Spread, effective_samples, spread
from harness.slo.statistics.means import mean_estimate, zeros_and_ones
from harness.slo.statistics.quantiles import QuantileEstimate
from harness.slo.statistics.shares import exact, share_interval, wilson
from harness.slo.thresholds import judge_threshold
from tests.proofs.streams import log_normal_quantile, log_normal_stream, series_of


@pytest.mark.parametrize(
    ("events", "samples", "interval"),
    [(0, 10, (0.0, 0.2775)), (1, 29, (0.0061, 0.1718)), (81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605))],
)
def test_wilson(events: int, samples: int, interval: tuple[float, float]) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3; the first by the closed form."""
    assert wilson(events / samples, samples) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize(
    ("events", "samples", "interval"),
    [(0, 20, (0.0, 0.1684)), (1, 29, (0.0009, 0.1776)), (81, 263, (0.2527, 0.3676)), (15, 148, (0.0578, 0.1617))],
)
def test_the_exact_interval(events: int, samples: int, interval: tuple[float, float]) -> None:
    """The same table, method 5."""
    assert exact(events / samples, samples) == pytest.approx(interval, abs=5e-5)


def test_without_events_the_upper_end_is_the_rule_of_three() -> None:
    assert exact(0.0, 1000, 0.05)[1] == pytest.approx(3 / 1000, rel=0.005)
    assert share_interval(0, 600, 600) == (0.0, pytest.approx(1 - TAIL ** (1 / 600)))
    assert share_interval(600, 600, 600) == (pytest.approx(TAIL ** (1 / 600)), 1.0)


def test_few_events_are_judged_exactly_and_many_by_wilson() -> None:
    assert share_interval(3, 600, 600) == exact(3 / 600, 600)
    assert share_interval(4, 600, 600) == wilson(4 / 600, 600)
    assert share_interval(597, 600, 600) == exact(597 / 600, 600)


@pytest.mark.parametrize(
    ("quantile", "confidence", "needed"),
    [(0.99, 0.99, 459), (0.999, 0.99, 4603), (0.95, 0.99, 90), (0.99, 0.975, 368), (0.999, 0.975, 3688)],
)
def test_how_many_samples_decide_without_a_miss(quantile: float, confidence: float, needed: int) -> None:
    assert samples_needed(quantile, confidence) == needed
    assert exact(0.0, needed, 1 - confidence)[1] <= 1 - quantile < exact(0.0, needed - 1, 1 - confidence)[1]


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("size", [400, 1000, 5000])
def test_the_interval_of_independent_samples_is_that_of_the_order_statistics(quantile: float, size: int) -> None:
    """Values 1..n in an order without any scatter between the seconds: the ends are ranks."""
    values = np.arange(1, size + 1)
    series = series_of(np.sort(values.reshape(-1, 10), axis=0).ravel(order="F") / 1e7, 10)
    estimate = QuantileEstimate(series, quantile)
    estimate._told = lambda column, _: (estimate._below[column] / size if column >= 0 else 0.0, float(size))
    ranks = np.arange(size + 1)
    chance = binom.cdf(ranks, size, quantile)  # P(B <= rank)
    low, high = 1 + ranks[chance <= TAIL].max(), 1 + ranks[chance >= 1 - TAIL].min()
    found = estimate.interval()
    assert found == (pytest.approx(low, rel=0.002), pytest.approx(high, rel=0.002))
    assert found[0] <= low and found[1] >= high  # outward


def test_a_sample_too_small_for_an_end_has_none() -> None:
    series = series_of(np.arange(1, 101) / 100, 10)
    low, high = QuantileEstimate(series, 0.99).interval()
    assert 0 < low < math.inf and high == math.inf


def test_blocks_show_bursts_that_single_samples_hide() -> None:
    """The same 32 events of 3,200: one in each block, or all in one."""
    totals = np.full(32, 100.0)
    even, burst = np.ones(32), np.zeros(32)
    burst[7] = 32
    assert effective_samples(0.01, 3200, spread(even, totals, share=True)) == 3200
    assert effective_samples(0.01, 3200, spread(burst, totals, share=True)) < 3200 / 32
    one = np.zeros(32)
    one[3] = 1  # a single event tells nothing of bursts
    assert effective_samples(1 / 3200, 3200, spread(one, totals, share=True)) > 0.85 * 3200
    assert effective_samples(0.0, 3200, spread(np.zeros(32), totals, share=True)) == 3200
    assert effective_samples(0.01, 3200, spread([32.0], [3200.0], share=True)) == 0


def test_blocks_grow_while_neighbours_are_alike() -> None:
    random = np.random.default_rng(4)
    slow = np.repeat(random.normal(size=8), 4)  # the same for four blocks on end
    found, alone = (spread(100 + one, np.full(32, 100.0), share=False) for one in (slow, random.normal(size=32)))
    assert found is not None and alone is not None
    assert (found.blocks, alone.blocks) == (16, 32)
    assert found.student > alone.student > 1.96


def test_the_effective_sample_size_of_an_autoregression_is_the_one_that_theory_gives() -> None:
    """With a lag-1 correlation of 0.9 the variance of a mean is (1 + 0.9) / (1 - 0.9) = 19 times as large."""
    random = np.random.default_rng(9)
    found = []
    for _ in range(40):
        noise = random.normal(size=20_000)
        stream = np.zeros(20_000)
        for at in range(1, 20_000):
            stream[at] = 0.9 * stream[at - 1] + noise[at] * math.sqrt(1 - 0.81)
        told = spread(stream.reshape(32, -1).sum(axis=1), np.full(32, 625.0), share=False)
        assert told is not None
        found.append(told.variance * 20_000)
    assert np.mean(found) == pytest.approx(19, rel=0.15)


def test_a_mean_has_students_interval_over_its_blocks() -> None:
    values = np.concatenate([np.full(50, level) for level in (1.0, 2.0, 3.0, 4.0)])
    estimate = mean_estimate(series_of(values, 4))
    low, high = estimate.interval()
    half = 3.1824 * math.sqrt(5 / 3 / 4)  # t of 3 degrees of freedom, standard error of four block means
    assert estimate.mean == pytest.approx(2.5e7)
    assert (low, high) == (pytest.approx((2.5 - half) * 1e7, rel=0.01), pytest.approx((2.5 + half) * 1e7, rel=0.01))


def test_values_of_zero_and_one_alone_are_a_share() -> None:
    for values, share in (([0, 1, 1, 0], True), ([1, 1], True), ([0, 0.5, 1], False), ([0, 0], False), ([2, 0], False)):
        series = series_of(np.array(values, dtype=float), 1)
        series.scale = 1e7
        assert zeros_and_ones(series) is share, values


def test_an_interval_decides_when_it_lies_on_one_side() -> None:
    assert decide((1.0, 2.0), "<", 2.5) is Outcome.PASS
    assert decide((1.0, 2.0), "<", 2.0) is Outcome.INCONCLUSIVE
    assert decide((1.0, 2.0), "<=", 2.0) is Outcome.PASS
    assert decide((1.0, 2.0), "<", 1.0) is Outcome.FAIL
    assert decide((1.0, math.inf), "<", 1e9) is Outcome.INCONCLUSIVE
    assert decide((1.0, 2.0), ">=", 1.5) is Outcome.INCONCLUSIVE


def test_the_samples_that_would_decide_do_decide() -> None:
    times = times_to_decide(lambda times: share_interval(0, 600 * times, 600 * times), "<", 0.001)
    assert times is not None and 3688 <= 600 * times <= 3688 * 1.005
    assert times_to_decide(lambda times: wilson(0.01, 600 * times), "<", 0.01) is None  # at the limit


def judged(series: Series, condition: str, seconds: float) -> tuple[Outcome, str, str]:
    samples = Samples()
    samples._selected["latency", (), "steady"] = series
    finding = judge_threshold(parse_threshold("latency", condition), samples, Phase("steady", 0, round(seconds * 1e9)))
    return finding.outcome, finding.slug, finding.reason


def test_the_same_values_decide_or_not_by_how_they_lie_in_time() -> None:
    """3 % of 6,000 are slow: spread evenly p(95) is sure to be quick; in a few bursts it is not."""
    even = np.where(np.arange(6000) % 100 < 3, 0.9, 0.1)
    bursts = np.where(np.isin(np.arange(6000) // 60, (10, 50, 51)), 0.9, 0.1)
    assert judged(series_of(even, 100), "p(95)<5ms", 100.0)[0] is Outcome.PASS
    outcome, slug, reason = judged(series_of(bursts, 100), "p(95)<5ms", 100.0)
    assert (outcome, slug) == (Outcome.INCONCLUSIVE, "not-decided")
    assert "6000 samples do not decide, about" in reason and "of steady phase at this rate" in reason


def test_an_outage_of_half_the_run_fails_however_few_samples_count_as_independent() -> None:
    outage = np.where(np.arange(600) >= 300, 100.0, 1.0)
    assert judged(series_of(outage, 10), "p(95)<100ms", 10.0)[0] is Outcome.FAIL


def test_a_second_alone_shows_nothing_of_how_samples_depend() -> None:
    outcome, slug, reason = judged(series_of(np.arange(1, 1001) / 1000, 1), "p(95)<9.6ms", 1.0)
    assert (outcome, slug) == (Outcome.INCONCLUSIVE, "not-decided")
    assert "all samples lie in one second" in reason


def test_intervals_of_a_correlated_stream_hold_the_true_value_about_as_often_as_they_say() -> None:
    """A smoke test of what `make prove-statistics` measures: 60 short runs."""
    stream, random = log_normal_stream(0.5, 3000, 60), np.random.default_rng(2)
    held = 0
    for _ in range(60):
        low, high = QuantileEstimate(series_of(stream.draw(random, 3000), 60), 0.95).interval()
        held += low <= log_normal_quantile(0.95) * 1e7 <= high
    assert held >= 53


def test_the_uncertainty_of_the_variance_itself_is_allowed_for() -> None:
    """Korn and Graubard's factor (z / t)^2: with ten blocks 1.96 and 2.262, so 0.751 of p (1 - p) / variance."""
    found = Spread(variance=1e-4, freedom=9.0, blocks=10)
    assert effective_samples(0.5, 1_000_000, found) == pytest.approx(2500 * (1.95996 / 2.26216) ** 2, rel=1e-4)


def test_counts_that_do_not_fit_each_other_by_block_are_judged_as_independent() -> None:
    """In one block more events than there were: such blocks do not show how the events scatter."""
    events, totals = [100.0, 120.0, 80.0, 95.0] * 4, [100.0] * 16
    loose = share_estimate(events, totals)
    assert loose.interval_at is not None and not loose.blind
    assert loose.interval_at(1.0) == share_interval(1580, 1600, 1600)
    fitting = share_estimate([100.0, 100.0, 80.0, 95.0] * 4, totals)
    assert fitting.interval_at is not None
    assert fitting.interval_at(1.0)[0] < share_interval(1500, 1600, 1600)[0]  # there the scatter counts
