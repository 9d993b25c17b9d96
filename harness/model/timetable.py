"""When arrivals are due and how many users there are: the law of each executor. Pure.

With L(t) arrivals to be expected in [0, t], the integral of the rate, arrival number n (from 0) of a rate that is
declared is due at the latest t with L(t) <= n: so none is due while the rate is 0, and the first of a constant rate is
due at once. Poisson arrivals are those of a random L, replayed ones those of a file. Times are nanoseconds after the
origin, and no two arrivals have the same: of those that fall on one nanosecond, the second is due one later. All
workers compute the same whole, and each takes every `step`-th arrival of it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from harness.model.arrival_file import read_arrivals

CHUNK = 4096  # arrivals computed at a time
_SECOND = 1_000_000_000
Offsets = npt.NDArray[np.int64]


class Stage(NamedTuple):
    """From where the stage before ended, in a straight line to `target` (arrivals a second, or users) within
    `duration_ns`; at once where that is 0."""

    target: float
    duration_ns: int


class Timetable(Protocol):
    """The arrivals of a whole run."""

    @property
    def count(self) -> int:
        """How many there are."""

    def before(self, offset_ns: int) -> int:
        """How many are due before `offset_ns`."""

    def offsets(self, first: int, step: int) -> Iterator[int]:
        """When arrivals number first, first + step, first + 2 * step... are due, ascending."""


class Constant:
    """`rate` arrivals a second, evenly, in [0, length_ns): L(t) = rate * t, so arrival n is due at n / rate."""

    def __init__(self, rate: float, length_ns: int) -> None:
        self._rate = Fraction(rate)
        self.count = self.before(length_ns)

    def before(self, offset_ns: int) -> int:
        return max(0, math.ceil(self._rate * offset_ns / _SECOND))

    def offset_ns(self, number: int) -> int:
        """When arrival number `number` is due: exact, however long the run."""
        return number * _SECOND * self._rate.denominator // self._rate.numerator

    def offsets(self, first: int, step: int) -> Iterator[int]:
        times, over = _SECOND * self._rate.denominator, self._rate.numerator
        return (number * times // over for number in range(first, self.count, step))


class Ramp:
    """A rate that goes from `start` in straight lines through `stages`, as far as length_ns.

    In a stage from rate a to rate b within T, with c = (b - a) / T, L grows by a*t + c*t^2/2, in all by (a + b)/2 * T.
    The arrival that is m beyond the beginning of its stage is due at t = 2*m / (a + sqrt(a^2 + 2*c*m)), the root of
    that in the form that loses no digits, and the same as m / a where c is 0. As float64: within 1e-15 of t, or 1 ns.
    """

    def __init__(self, start: float, stages: Sequence[Stage], length_ns: int) -> None:
        begin, total, level = 0, Fraction(0), Fraction(start)
        self._begins, self._totals = [0], [Fraction(0)]  # of each stage, and the end of the last
        self._rates: list[tuple[Fraction, Fraction]] = []
        for stage in stages:
            target = Fraction(stage.target)
            if stage.duration_ns:
                begin += stage.duration_ns
                total += (level + target) / 2 * stage.duration_ns / _SECOND
                self._begins.append(begin)
                self._totals.append(total)
                self._rates.append((level, target))
            level = target
        self._edges = np.array([float(one) for one in self._totals])
        self._from = np.array([float(a) for a, _ in self._rates])
        seconds = np.diff(np.array(self._begins)) / _SECOND
        self._slope = np.array([float(b - a) for a, b in self._rates]) / seconds
        self._length_ns = min(length_ns, begin)
        self.count = self.before(self._length_ns)

    def expected(self, offset_ns: int) -> Fraction:
        """L(offset_ns), exactly."""
        offset_ns = min(max(0, offset_ns), self._begins[-1])
        at = min(bisect_right(self._begins, offset_ns), len(self._rates)) - 1
        (low, high), whole = self._rates[at], self._begins[at + 1] - self._begins[at]
        t = offset_ns - self._begins[at]
        return self._totals[at] + (low * t + (high - low) * t * t / (2 * whole)) / _SECOND

    def at(self, numbers: Offsets) -> Offsets:
        """When the arrivals of these numbers are due. They must be below L at the end of the last stage."""
        stage = np.searchsorted(self._edges, numbers, side="right") - 1
        stage = np.minimum(stage, len(self._rates) - 1)
        beyond = numbers - self._edges[stage]
        rate = self._from[stage]
        root = rate + np.sqrt(np.maximum(rate * rate + 2 * self._slope[stage] * beyond, 0))
        seconds = np.divide(2 * beyond, root, out=np.zeros(len(numbers)), where=root > 0)
        begins = np.array(self._begins)
        found = begins[stage] + (seconds * _SECOND).astype(np.int64)
        made: Offsets = np.minimum(found, begins[stage + 1])
        return made

    def before(self, offset_ns: int) -> int:
        """As `at` computes them, so that no arrival is in two phases or in none."""
        number, most = math.ceil(self.expected(offset_ns)), math.ceil(self._totals[-1])
        while number > 0 and self.at(np.array([number - 1]))[0] >= offset_ns:
            number -= 1
        while number < most and self.at(np.array([number]))[0] < offset_ns:
            number += 1
        return number

    def offsets(self, first: int, step: int) -> Iterator[int]:
        for begin in range(first, self.count, CHUNK * step):
            yield from self.at(np.arange(begin, min(begin + CHUNK * step, self.count), step)).tolist()


class Poisson:
    """Gaps that know nothing of each other: each is -ln(1 - u) / rate with u evenly drawn from [0, 1), so exponential
    with mean 1 / rate, and the first arrival is one gap after the origin. The same seed gives the same arrivals."""

    def __init__(self, rate: float, seed: int, length_ns: int) -> None:
        self._mean, self._seed, self._length_ns = _SECOND / rate, seed, length_ns

    @cached_property
    def count(self) -> int:
        return self.before(self._length_ns)

    def before(self, offset_ns: int) -> int:
        return sum(int(np.searchsorted(chunk, offset_ns)) for chunk in self._chunks())

    def offsets(self, first: int, step: int) -> Iterator[int]:
        for chunk in self._chunks():
            yield from chunk[first::step].tolist()
            first = (first - len(chunk)) % step

    def _chunks(self) -> Iterator[Offsets]:
        drawn, reached, last = np.random.Generator(np.random.PCG64(self._seed)), 0.0, -1
        while reached < self._length_ns:
            times = reached + np.cumsum(-np.log1p(-drawn.random(CHUNK))) * self._mean
            reached = float(times[-1])
            apart = _apart(times.astype(np.int64), last)
            last = int(apart[-1])
            yield apart[: int(np.searchsorted(apart, self._length_ns))]


class Replay:
    """The arrival times of a file, `speed` times as fast, as far as length_ns. Raises what read_arrivals does."""

    def __init__(self, file: str, speed: float, length_ns: int) -> None:
        times = _apart(read_arrivals(file, speed), -1)
        self._times = times[: int(np.searchsorted(times, length_ns))]
        self.count = len(self._times)

    @property
    def peak(self) -> float:
        """The most arrivals in any second, counted from the origin."""
        return float(np.unique(self._times // _SECOND, return_counts=True)[1].max(initial=0))

    def before(self, offset_ns: int) -> int:
        return int(np.searchsorted(self._times, offset_ns))

    def offsets(self, first: int, step: int) -> Iterator[int]:
        mine = self._times[first::step]
        for at in range(0, len(mine), CHUNK):
            yield from mine[at : at + CHUNK].tolist()


def _apart(times: Offsets, last: int) -> Offsets:
    """Ascending times, each moved as little as it takes to be later than the one before, the first than `last`."""
    order = np.arange(len(times))
    made: Offsets = np.maximum(np.maximum.accumulate(times - order), last + 1) + order
    return made


def levels(start: float, stages: Sequence[Stage]) -> list[tuple[int, int]]:
    """[(offset_ns, how many users there are from then on)], ascending, the first at 0.

    In a stage from a users to b within T the line u(t) = a + (b - a) * t / T is followed in whole users: one comes when
    the line reaches it, at T * (k - a) / (b - a) for user k, and the last goes when it has reached the next lower one.
    """
    users, begin = int(start), 0
    found = {0: users}
    for stage in stages:
        target, length = int(stage.target), stage.duration_ns
        step = 1 if target > users else -1
        for level in range(users + step, target + step, step) if target != users else ():
            found[begin + -(-length * abs(level - users) // abs(target - users))] = level
        users, begin = target, begin + length
    return sorted(found.items())
