"""An unsettled run proves nothing of the system once settled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.results.samples import Samples
from harness.slo.stationarity import judge_stationarity
from harness.slo.statistics.trend import trend
from tests.proofs.streams import series_of


def judged(milliseconds: npt.NDArray[np.float64], *, rate: int = 60, tightest: float | None = None) -> Finding | None:
    """Each second has `rate` latencies around its value."""
    random = np.random.default_rng(5)
    values = np.repeat(milliseconds, rate) * random.lognormal(0, 0.3, milliseconds.size * rate)
    samples = Samples()
    samples._selected["latency", (("name", "search"),), "steady"] = series_of(values, milliseconds.size)
    return judge_stationarity("search", samples, tightest)


def test_a_settled_run_passes() -> None:
    found = judged(np.full(20, 10.0))
    assert found is not None and (found.outcome, found.reason, found.observed) == (Outcome.PASS, "", None)


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (10 * (1 + 2 * np.exp(-np.arange(20) / 5)), ("fell", "lengthen load.warmup")),
        (np.linspace(10, 20, 20), ("rose", "does not keep up")),
        (np.linspace(10, 20, 120), ("rose", "blocks of 6 s")),
        (np.repeat([10.0, 20.0], 10), ("rose", "from", "to")),
    ],
)
def test_what_still_moves_is_inconclusive_and_says_which_way(
    milliseconds: npt.NDArray[np.float64], words: tuple[str, ...]
) -> None:
    found = judged(milliseconds)
    assert found is not None
    assert (found.outcome, found.slug) == (Outcome.INCONCLUSIVE, "not-stationary")
    assert all(word in found.reason for word in words), found.reason


def test_one_bad_stretch_at_the_end_is_no_trend() -> None:
    """It is for thresholds and windows to judge."""
    values = np.full(20, 10.0)
    values[-2:] = 200.0
    found = judged(values)
    assert found is not None and found.outcome is Outcome.PASS


def test_a_drift_that_does_not_matter_passes() -> None:
    found = judged(np.linspace(10, 11, 60), rate=500)
    assert found is not None and found.outcome is Outcome.PASS


def test_a_drift_far_below_the_bound_is_no_reason_to_doubt_it() -> None:
    values = np.linspace(10, 20, 60)
    far, near = judged(values, tightest=4.0), judged(values, tightest=0.8)
    assert far is not None and far.outcome is Outcome.PASS
    assert far.observed is not None and far.target is not None
    assert 0.5 < far.observed < far.target, "what was seen is told, and what of it may be"
    assert near is not None and near.outcome is Outcome.INCONCLUSIVE


def test_what_is_too_short_to_tell_is_not_told() -> None:
    assert judged(np.full(7, 10.0)) is None
    assert judged(np.full(20, 10.0), rate=4) is None


def test_a_last_second_that_was_cut_does_not_hide_the_rest() -> None:
    samples = Samples()
    values = np.concatenate([np.repeat(np.linspace(10, 30, 20), 60), np.full(2, 30.0)])
    series = series_of(values[:-2], 20)
    last = dict(series._records[-1])
    series.add({**last, "second": 20, "histogram": series_of(values[-2:], 1)._records[0]["histogram"]})
    samples._selected["latency", (("name", "search"),), "steady"] = series
    found = judge_stationarity("search", samples)
    assert found is not None and found.slug == "not-stationary"


def test_the_trend_test_agrees_with_the_published_example() -> None:
    """Without ties or correlation var(S) = n(n-1)(2n+5)/18: for n = 10 and a rise throughout z = 44/sqrt(125)."""
    found = trend(np.arange(10.0))
    assert found.change == pytest.approx(9.0)
    assert found.chance == pytest.approx(8.3e-5, rel=0.01)


def test_chance_alone_seldom_makes_a_trend() -> None:
    random = np.random.default_rng(11)
    assert sum(trend(random.lognormal(0, 0.3, 20)).chance <= 0.01 for _ in range(1000)) <= 20


def test_neighbours_that_are_alike_make_a_trend_less_sure() -> None:
    random = np.random.default_rng(12)
    alone = alike = 0
    for _ in range(300):
        noise = random.normal(size=20)
        values = np.empty(20)
        values[0] = noise[0]
        for at in range(1, 20):
            values[at] = 0.6 * values[at - 1] + 0.8 * noise[at]
        alike += trend(values).chance <= 0.01
        alone += _without_correction(values) <= 0.01
    assert alike <= alone - 5


def _without_correction(values: npt.NDArray[np.float64]) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(np.arange(values.size), values, method="asymptotic").pvalue)
