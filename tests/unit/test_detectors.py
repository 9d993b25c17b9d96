"""The recursion of Page-Hinkley by hand, its properties, and what it does on simulated batches of predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.accuracy import binomial_z
from detectors.page_hinkley import PageHinkley

values = st.floats(min_value=-50, max_value=50, allow_nan=False)
streams = st.lists(values, max_size=60)


def run(stream: Iterable[float], detector: PageHinkley) -> list[bool]:
    return [detector.update(z) for z in stream]


def first_alarm(stream: Iterable[float]) -> int | None:
    """How many values it took, None where all of them did not do."""
    detector = PageHinkley()
    return next((number for number, z in enumerate(stream, 1) if detector.update(z)), None)


@pytest.mark.parametrize(
    ("z", "sums", "alarms"),
    [
        ([0, 0, 0], [0, 0, 0], [False] * 3),
        ([-0.5, -0.5], [0, 0], [False] * 2),  # within what is tolerated
        ([-2.5, -2.5], [2, 4], [False, True]),  # the threshold itself counts
        ([-3, 1, -3], [2.5, 1, 3.5], [False] * 3),  # what chance takes it gives back
        ([-3, 9, -3], [2.5, 0, 2.5], [False] * 3),  # but no more than that: an improvement is no credit
        ([-9, 2, 3, 0], [8.5, 6, 2.5, 2], [True, True, False, False]),  # stands until it is undone
        ([9, 9, 9], [0, 0, 0], [False] * 3),  # an improvement is no alarm
    ],
)
def test_the_recursion_by_hand(z: list[float], sums: list[float], alarms: list[bool]) -> None:
    detector = PageHinkley(delta=0.5, threshold=4)
    seen = [(detector.update(one), detector.statistic) for one in z]
    assert seen == list(zip(alarms, sums, strict=True))


@given(streams)
def test_the_sum_is_the_worst_shortfall_of_any_run_of_values_that_ends_now(stream: list[float]) -> None:
    detector = PageHinkley()
    run(stream, detector)
    shortfalls = [math.fsum(-z - 0.5 for z in stream[start:]) for start in range(len(stream) + 1)]
    assert detector.statistic == pytest.approx(max(shortfalls), abs=1e-9)


@given(streams, st.floats(min_value=0, max_value=5), st.integers(min_value=0, max_value=59))
def test_a_lower_value_never_lowers_the_sum(stream: list[float], drop: float, where: int) -> None:
    as_it_was, lowered = PageHinkley(), PageHinkley()
    run(stream, as_it_was)
    run([z - drop if place == where else z for place, z in enumerate(stream)], lowered)
    assert lowered.statistic >= as_it_was.statistic - 1e-9


@given(streams)
def test_after_a_reset_the_past_is_forgotten(stream: list[float]) -> None:
    used, fresh = PageHinkley(), PageHinkley()
    run([-20, -20], used)
    used.reset()
    assert used.statistic == 0
    assert run(stream, used) == run(stream, fresh)


@given(streams, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_not_a_number_is_refused_and_changes_nothing(stream: list[float], bad: float) -> None:
    detector = PageHinkley()
    run(stream, detector)
    before = detector.statistic
    with pytest.raises(ValueError, match="expected a finite number"):
        detector.update(bad)
    assert detector.statistic == before


@pytest.mark.parametrize(
    ("delta", "threshold", "named"),
    [
        (-0.1, 8, "delta"),
        (math.nan, 8, "delta"),
        (math.inf, 8, "delta"),
        (0, 0, "threshold"),
        (0, math.nan, "threshold"),
    ],
)
def test_parameters_that_cannot_be_used(delta: float, threshold: float, named: str) -> None:
    with pytest.raises(ValueError, match=f"{named} is"):
        PageHinkley(delta, threshold)


def test_a_decline_is_found_and_stationary_days_mostly_stay_silent() -> None:
    source = np.random.default_rng(2026)
    expected, total, day = 0.9, 100, 96

    def batches(accuracy: float, count: int) -> Iterable[float]:
        return (binomial_z(int(correct), total, expected) for correct in source.binomial(total, accuracy, count))

    delays = [first_alarm(batches(0.85, 200)) for _ in range(300)]
    found = [delay for delay in delays if delay is not None]
    assert len(found) == 300
    assert 4 <= np.median(found) <= 10
    assert np.percentile(found, 95) <= 25
    silent = [first_alarm(batches(0.9, day)) is None for _ in range(500)]
    assert np.mean(silent) > 0.95


def test_a_decline_that_stays_is_detected_for_as_long_as_it_does() -> None:
    assert all(run([-2.0] * 500, PageHinkley())[8:])


@given(st.integers(min_value=1, max_value=10_000), st.data())
def test_z_against_exact_arithmetic(total: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(min_value=0, max_value=total))
    percent = data.draw(st.integers(min_value=1, max_value=99))
    share = Fraction(percent, 100)
    squared = (correct - total * share) ** 2 / (total * share * (1 - share))
    z = binomial_z(correct, total, percent / 100)
    assert z**2 == pytest.approx(float(squared), abs=1e-9)
    assert z == pytest.approx(0, abs=1e-6) or (z > 0) == (Fraction(correct, total) > share)


def test_z_in_two_examples() -> None:
    assert binomial_z(85, 100, 0.9) == pytest.approx(-5 / 3)
    assert binomial_z(93, 100, 0.9) == pytest.approx(1)


@pytest.mark.parametrize(
    ("correct", "total", "expected", "named"),
    [
        (0, 0, 0.9, "total is 0"),
        (0, -1, 0.9, "total is -1"),
        (-1, 10, 0.9, "correct is -1"),
        (11, 10, 0.9, "correct is 11"),
        (5, 10, 0.0, "expected is 0.0"),
        (5, 10, 1.0, "expected is 1.0"),
        (5, 10, math.nan, "expected is nan"),
    ],
)
def test_z_of_what_has_none(correct: int, total: int, expected: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        binomial_z(correct, total, expected)
