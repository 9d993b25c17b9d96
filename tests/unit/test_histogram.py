"""The histogram keeps its promises about error, exactness and merging for any values."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.histogram import LARGEST, SUB, Histogram, K, bucket_edges, bucket_of, buckets_of

quick = settings(max_examples=40, deadline=None)  # no deadline: a busy machine is no defect

ANY = st.one_of(
    st.integers(0, LARGEST),
    st.integers(0, 5000),
    st.integers(0, 62).flatmap(lambda e: st.integers(max(0, (1 << e) - 2), min(LARGEST, (1 << e) + 2))),
)
MANY = st.lists(ANY, max_size=60)
QUANTILES = st.sampled_from([0.0, 0.01, 0.07, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]) | st.floats(0, 1)


def of(values: list[int]) -> Histogram:
    made = Histogram()
    made.record(values)
    return made


@quick
@given(ANY)
def test_a_value_lies_in_its_bucket_and_close_to_the_middle(value: int) -> None:
    low, above = bucket_edges(bucket_of(value))
    assert low <= value < above
    assert abs((low + above - 1) // 2 - value) <= value / (1 << (K + 1))


@quick
@given(st.integers(0, 54 * SUB))
def test_buckets_follow_one_another_without_gap(index: int) -> None:
    low, above = bucket_edges(index)
    assert bucket_edges(index + 1)[0] == above
    assert bucket_of(low) == bucket_of(above - 1) == index


@quick
@given(MANY)
def test_numpy_finds_the_same_buckets(values: list[int]) -> None:
    assert buckets_of(np.array(values, dtype=np.int64)).tolist() == [bucket_of(value) for value in values]


@quick
@given(MANY)
def test_count_sum_and_extremes_are_exact(values: list[int]) -> None:
    made = of(values)
    assert (made.count, made.sum) == (len(values), sum(values))
    assert (made.min, made.max) == (min(values, default=0), max(values, default=0))
    assert sum(made.buckets.values()) == len(values)


@quick
@given(st.lists(ANY, min_size=1, max_size=60), QUANTILES)
def test_a_quantile_is_the_nearest_rank_within_a_thousandth(values: list[int], q: float) -> None:
    from fractions import Fraction

    exact = sorted(values)[max(1, math.ceil(Fraction(repr(q)) * len(values))) - 1]
    found = of(values).quantile(q)
    assert abs(found - exact) <= exact * 0.001
    assert min(values) <= found <= max(values)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.sampled_from([1, 3, 249, 250, 700]), min_size=1, max_size=5),
    highest=st.sampled_from([900, 10**6, 10**10, LARGEST]),
)
def test_many_values_at_a_time_count_as_one_by_one(seed: int, sizes: list[int], highest: int) -> None:
    drawn = np.random.default_rng(seed)
    parts = [drawn.integers(0, highest, size, endpoint=True) for size in sizes]
    single, together, merged = Histogram(), Histogram(), Histogram()
    for part in parts:
        together.record(part)
        (other := Histogram()).record(part)
        merged.merge(other)
        assert merged.count == sum(merged.buckets.values())  # asked in between, and recorded on
        for value in part.tolist():
            single.record([value])
    assert together == single == merged
    assert merged.quantile(0.5) == single.quantile(0.5)
    assert Histogram.from_dict(together.as_dict()).as_dict() == single.as_dict()


def test_what_is_merged_stays_its_owners() -> None:
    (one := Histogram()).record(np.full(1000, 7))
    (two := Histogram()).merge(one)
    two.record(np.full(1000, 7))
    assert (one.buckets, two.buckets) == ({7: 1000}, {7: 2000})


def test_the_rank_is_that_of_the_decimal_as_written() -> None:
    assert of(list(range(1, 101))).quantile(0.07) == 7  # 0.07 * 100 is 7.000000000000001 in floats
    assert of(list(range(1, 1001))).quantile(0.99) == 990


@quick
@given(MANY, MANY, MANY)
def test_merging_is_exact_in_any_grouping_and_order(a: list[int], b: list[int], c: list[int]) -> None:
    left, right, at_once = of(a), of(c), of(a + b + c)
    left.merge(of(b))
    left.merge(of(c))
    other = of(b)
    other.merge(of(a))
    right.merge(other)
    assert left == right == at_once


@quick
@given(MANY)
def test_its_json_form_comes_back_equal(values: list[int]) -> None:
    made = of(values)
    assert Histogram.from_dict(json.loads(json.dumps(made.as_dict()))) == made


@quick
@given(st.lists(ANY, min_size=1, max_size=60), ANY)
def test_count_below_misses_only_values_of_the_same_bucket(values: list[int], limit: int) -> None:
    below = of(values).count_below(limit)
    exact = sum(value < limit for value in values)
    alike = sum(value < limit and bucket_of(value) == bucket_of(limit) for value in values)
    assert exact - alike <= below <= exact
    edge = bucket_edges(bucket_of(limit))[0]
    assert of(values).count_below(edge) == sum(value < edge for value in values)


@pytest.mark.parametrize("bad", [[-1], [5, -3]])
def test_a_negative_value_is_refused_and_nothing_added(bad: list[int]) -> None:
    made = of([7])
    with pytest.raises(ValueError, match="negative"):
        made.record(bad)
    assert made == of([7])


def test_what_no_int64_holds_is_refused() -> None:
    made = Histogram()
    with pytest.raises(OverflowError):
        made.record([LARGEST + 1])
    assert made.count == 0


def test_an_empty_one_has_no_quantile_and_a_tampered_one_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Histogram().quantile(0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        of([1]).quantile(99)
    stored = of([1, 2, 3]).as_dict()
    stored["count"] = 4
    with pytest.raises(ValueError, match="add up"):
        Histogram.from_dict(stored)


def test_a_lognormal_latency_is_told_as_numpy_tells_it() -> None:
    values = np.random.default_rng(7).lognormal(16, 0.8, 20_000).astype(np.int64)
    made = Histogram()
    for part in np.array_split(values, 20):
        made.record(part)
    for q in (0.5, 0.9, 0.99, 0.999):
        exact = float(np.quantile(values, q, method="inverted_cdf"))
        assert made.quantile(q) == pytest.approx(exact, rel=0.001)
    assert made.sum == int(values.sum())
