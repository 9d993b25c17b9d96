"""Arrival times are those of the laws that the docstrings state, for every executor."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.core.errors import UsageError
from harness.model.arrival_file import read_arrivals
from harness.model.load import EXECUTORS, LoadPlan
from harness.model.timetable import CHUNK, Constant, Poisson, Ramp, Replay, Stage, levels

MS, SECOND = 1_000_000, 1_000_000_000


def stages(*pairs: tuple[float, float]) -> tuple[Stage, ...]:
    return tuple(Stage(target, round(seconds * SECOND)) for target, seconds in pairs)


def due(start: float, *pairs: tuple[float, float]) -> list[float]:
    """In seconds."""
    made = Ramp(start, stages(*pairs), 10**18)
    return [offset / SECOND for offset in made.offsets(0, 1)]


def test_a_ramp_from_nothing_is_due_at_the_roots_of_its_integral() -> None:
    # c = 10/s per s: L(t) = 5 t^2, so arrival n is due at sqrt(n / 5)
    found = due(0, (100, 10))
    assert len(found) == 500
    exact = [isqrt(n * SECOND**2 // 5) / SECOND for n in range(500)]
    assert found == pytest.approx(exact, abs=2e-9)
    assert (found[5], found[20], found[405]) == (1.0, 2.0, 9.0)


@pytest.mark.parametrize(
    ("start", "pairs", "count", "some"),
    [
        (10, [(10, 2)], 20, {0: 0.0, 1: 0.1, 19: 1.9}),  # even
        (100, [(0, 10)], 500, {0: 0.0, 95: 1.0, 180: 2.0, 320: 4.0}),  # L(t) = 100 t - 5 t^2
        (10, [(30, 2)], 40, {0: 0.0, 15: 1.0}),  # L(t) = 10 t + 5 t^2
        (0, [(20, 1), (20, 1), (0, 1)], 40, {10: 1.0, 20: 1.5, 30: 2.0}),
        (0, [(0, 3), (10, 0), (10, 1)], 10, {0: 3.0, 9: 3.9}),  # nothing is due while the rate is 0; a jump
        (5, [(5, 1), (0, 0), (0, 2), (5, 0), (5, 1)], 10, {4: 0.8, 5: 3.0, 9: 3.8}),  # nor in between
        (4, [(4, 1), (0, 0), (0, 5)], 4, {3: 0.75}),  # nor at the end
        (0.5, [(0.5, 3)], 2, {0: 0.0, 1: 2.0}),
    ],
)
def test_a_ramp_follows_its_stages(
    start: float, pairs: list[tuple[float, float]], count: int, some: dict[int, float]
) -> None:
    found = due(start, *pairs)
    assert len(found) == count
    assert {number: found[number] for number in some} == pytest.approx(some, abs=2e-9)


RATES = st.one_of(st.just(0.0), st.floats(0.01, 5000))
STAGES = st.lists(st.builds(Stage, RATES, st.integers(0, 3 * SECOND)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(start=RATES, made=STAGES, cut=st.floats(0.1, 1))
def test_the_arrivals_of_any_ramp_agree_with_its_integral(start: float, made: list[Stage], cut: float) -> None:
    whole = sum(stage.duration_ns for stage in made)
    assume(whole)
    length = max(1, int(whole * cut))
    ramp = Ramp(start, made, length)
    found = list(ramp.offsets(0, 1))
    assert found == sorted(set(found)) and all(0 <= offset < length for offset in found)
    assert len(found) == ramp.count
    for number in range(0, len(found), 97):  # L(due) <= n <= L(due + 1 ns), but for what a float64 loses
        slack = Fraction(1, 10**7)
        assert ramp.expected(found[number] - 2) - slack <= number <= ramp.expected(found[number] + 2) + slack
    for part in (0, length // 3, length // 2, length):
        assert ramp.before(part) == sum(offset < part for offset in found)


@pytest.mark.parametrize("seed", range(20))
def test_gaps_of_poisson_arrivals_are_exponential(seed: int) -> None:
    """Kolmogorov and Smirnov's test, and one of independence: a long gap does not tell of the next. With fixed seeds
    the outcome is fixed too; of 20 about one has p < 0.05, none of these p < 0.01."""
    offsets = np.array(list(Poisson(500.0, seed, 20 * SECOND).offsets(0, 1)))
    gaps = np.diff(offsets, prepend=0) / SECOND
    assert stats.kstest(gaps, "expon", args=(0, 1 / 500)).pvalue > 0.01
    assert stats.spearmanr(gaps[:-1], gaps[1:]).pvalue > 0.001
    assert abs(len(offsets) - 10_000) < 4 * 100  # the count is Poisson too: its deviation is the root of its mean


def test_the_numbers_of_poisson_arrivals_scatter_as_they_must() -> None:
    numbers = [Poisson(50.0, seed, SECOND).count for seed in range(400)]
    assert np.mean(numbers) == pytest.approx(50, abs=1.2)
    assert np.var(numbers) / np.mean(numbers) == pytest.approx(1, abs=0.22)


def test_a_seed_makes_the_same_arrivals_and_another_makes_others() -> None:
    same = [list(Poisson(100.0, seed, SECOND).offsets(0, 1)) for seed in (7, 7, 8)]
    assert same[0] == same[1] != same[2]
    longer = list(Poisson(100.0, 7, 2 * SECOND).offsets(0, 1))
    assert longer[: len(same[0])] == same[0]  # a longer run begins with the shorter


@settings(max_examples=30, deadline=None)
@given(executor=st.sampled_from([one for one in EXECUTORS if "users" not in one]), workers=st.integers(1, 7))
def test_workers_share_every_timetable_without_loss(
    tmp_path_factory: pytest.TempPathFactory, executor: str, workers: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "shared.txt"
    file.write_text("\n".join(str(number % 97 / 20) for number in range(9000)))
    fields: dict[str, Any] = {"stages": stages((4000, 2), (100, 3))} if executor.startswith("ramping") else {}
    plan = LoadPlan("x.py", 1900.5, SECOND, 4 * SECOND, executor=executor, workers=workers, file=str(file), **fields)
    shares = [list(plan.timetable(worker)) for worker in range(workers)]
    assert [len(share) for share in shares] == [plan.share(worker) for worker in range(workers)]
    alone = list(LoadPlan.from_dict({**plan.as_dict(), "workers": 1}).timetable(0))
    assert sorted(offset for share in shares for offset in share) == alone
    assert len(alone) == plan.arrivals > 2 * CHUNK
    assert plan.arrivals_in(0, SECOND) + plan.arrivals_in(SECOND, 10**18) == plan.arrivals
    assert plan.arrivals_in(0, SECOND) == sum(offset < SECOND for offset in alone)


def test_a_plan_that_is_cut_ends_sooner() -> None:
    plan = LoadPlan("x.py", 0, 0, 10 * SECOND, executor="ramping-arrival-rate", stages=stages((100, 10)))
    assert plan.cut(2 * SECOND).arrivals == 20 and plan.arrivals == 500
    assert list(plan.cut(2 * SECOND).timetable(0)) == list(plan.timetable(0))[:20]


def test_replayed_arrivals_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "times"
    path.write_text("# seconds\n0.5\n\n0.25 # the first\n2\n0.5\n3.5\n")
    made = Replay(str(path), 1.0, 3 * SECOND)
    assert list(made.offsets(0, 1)) == [250 * MS, 500 * MS, 500 * MS + 1, 2 * SECOND] and made.count == 4
    assert (made.before(500 * MS), made.before(501 * MS)) == (1, 3)
    assert list(Replay(str(path), 2.0, 3 * SECOND).offsets(1, 2)) == [250 * MS, SECOND]


def test_no_two_arrivals_are_due_at_the_same_nanosecond(tmp_path: Path) -> None:
    path = tmp_path / "times"
    path.write_text("1\n" * 5 + "1.000000002\n" + "0\n0\n")
    burst = list(Replay(str(path), 1.0, 3 * SECOND).offsets(0, 1))
    assert burst == [0, 1, *(SECOND + more for more in range(6))]
    dense = list(Poisson(1e9, 3, 5 * CHUNK).offsets(0, 1))  # a mean gap of one nanosecond
    assert len(dense) > 2 * CHUNK and all(b > a for a, b in pairwise(dense))


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [("1\n  2x\n", 2, 3, "'2x' is not a time"), ("-1", 1, 1, "between 0 and"), ("1\nnan # x", 2, 1, "between 0 and"),
     ("1e9", 1, 1, "between 0 and"), ("# none\n", None, None, "holds no arrival")],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_located(
    tmp_path: Path, text: str, line: int | None, column: int | None, said: str
) -> None:
    path = tmp_path / "times"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_arrivals(str(path))
    where = caught.value.location
    assert (where and where.line, where and where.column) == (line, column)
    assert caught.value.slug == "replay-file"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "times"
    if content:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="times") as caught:
        read_arrivals(str(path))
    assert caught.value.slug == "file-unreadable"


@pytest.mark.parametrize(
    ("start", "pairs", "found"),
    [
        (3, [(3, 5)], {0: 3}),
        (0, [(4, 8)], {0: 0, 2: 1, 4: 2, 6: 3, 8: 4}),
        (4, [(0, 8)], {0: 4, 2: 3, 4: 2, 6: 1, 8: 0}),
        (1, [(3, 2), (3, 5), (1, 0)], {0: 1, 1: 2, 2: 3, 7: 1}),
        (0, [(2, 0), (2, 1)], {0: 2}),
    ],
)
def test_users_come_and_go_along_the_line(start: int, pairs: list[tuple[int, float]], found: dict[int, int]) -> None:
    assert levels(start, stages(*pairs)) == [(at * SECOND, level) for at, level in found.items()]


def test_workers_share_the_users_at_every_level() -> None:
    plan = LoadPlan("x.py", 0, 0, SECOND, executor="ramping-users", stages=stages((7, 1), (2, 1)), workers=3)
    of_each = [dict(plan.levels(worker)) for worker in range(3)]
    assert {at: sum(one[at] for one in of_each) for at in of_each[0]} == dict(levels(0, plan.stages))
    assert [plan.users_of(worker) for worker in range(3)] == [3, 2, 2]
    assert (plan.arrivals, list(plan.timetable(0)), plan.arrivals_in(0, SECOND)) == (0, [], 0)


def test_a_constant_rate_is_exact_however_long_it_lasts() -> None:
    made = Constant(0.1, 10**18)
    assert made.offset_ns(10**8) == int(10**8 * SECOND / Fraction(0.1))
    assert Constant(3.0, 3600 * SECOND).offset_ns(3 * 3600) == 3600 * SECOND
