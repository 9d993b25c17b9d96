"""Streams of response times whose law is known and whose neighbours are alike, as a load generator would see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.special import ndtr, ndtri

from harness.model.histogram import buckets_of
from harness.results.series import Packed, Series

Values = npt.NDArray[np.float64]
Generator = np.random.Generator
UNIT = 10_000_000  # nanoseconds that a value of 1 stands for


@dataclass(frozen=True)
class Stream:
    """samples: of one run, evenly over `seconds`; quantile: of the law."""

    name: str
    samples: int
    seconds: int
    draw: Callable[[Generator, int], Values]
    quantile: Callable[[float], float]


def log_normal(phi: float) -> Callable[[Generator, int], Values]:
    """exp of a stationary AR(1) with standard normal margin."""

    def draw(random: Generator, size: int) -> Values:
        noise = random.standard_normal(size)
        noise[1:] *= math.sqrt(1 - phi * phi)
        return np.asarray(np.exp(lfilter([1.0], [1.0, -phi], noise)))

    return draw


def log_normal_quantile(share: float) -> float:
    return math.exp(float(ndtri(share)))


def queue(load: float) -> Callable[[Generator, int], Values]:
    """Sojourn times of a stationary M/M/1 queue with service rate 1, by Lindley's recursion."""

    def draw(random: Generator, size: int) -> Values:
        service, gap = random.exponential(1, size), random.exponential(1 / load, size)
        first = 0.0 if random.random() < 1 - load else random.exponential(1 / (1 - load))
        walk = np.concatenate([[first], first + np.cumsum(service[:-1] - gap[1:])])
        waiting = walk - np.minimum(np.minimum.accumulate(walk), 0)
        return np.asarray(waiting + service)

    return draw


def queue_quantile(load: float) -> Callable[[float], float]:
    """The sojourn time is exponential with rate 1 - load."""
    return lambda share: -math.log(1 - share) / (1 - load)


SPREAD, SLOWER = 0.3, 5.0


def regimes(slow: float, quick: float) -> Callable[[Generator, int], Values]:
    """Log-normal times that are five times as long while a slow regime lasts. slow, quick: mean samples of a stay."""

    def draw(random: Generator, size: int) -> Values:
        now, at = random.random() < slow / (slow + quick), 0
        is_slow = np.zeros(size, dtype=bool)
        while at < size:
            stay = int(random.geometric(1 / (slow if now else quick)))
            is_slow[at : at + stay] = now
            at, now = at + stay, not now
        times = random.lognormal(0, SPREAD, size)
        return np.asarray(np.where(is_slow, SLOWER * times, times))

    return draw


def regimes_quantile(slow: float, quick: float) -> Callable[[float], float]:
    share_slow = slow / (slow + quick)

    def below(value: float) -> float:
        quick_part = (1 - share_slow) * ndtr(math.log(value) / SPREAD)
        return float(quick_part + share_slow * ndtr(math.log(value / SLOWER) / SPREAD))

    return lambda share: float(brentq(lambda value: below(value) - share, 1e-3, 1e3, xtol=1e-12))


def series_of(values: Values, seconds: int) -> Series:
    """The stream as the reader of a run directory would give it."""
    integers = np.rint(values * UNIT).astype(np.int64)
    edges = np.ceil(np.arange(seconds + 1) * (integers.size / seconds)).astype(int)
    series = Series()
    for second in range(seconds):
        part = integers[edges[second] : edges[second + 1]]
        buckets, counts = np.unique(buckets_of(part), return_counts=True)
        packed = Packed(part.size, int(part.sum()), int(part.min()), int(part.max()), buckets, counts)
        series.add({"type": "trend", "unit": "ns", "scale": 1.0, "second": second, "histogram": packed})
    return series


def log_normal_stream(phi: float, samples: int = 50_000, seconds: int = 100) -> Stream:
    return Stream(f"AR(1) {phi:g} log-normal", samples, seconds, log_normal(phi), log_normal_quantile)


def queue_stream(load: float, samples: int = 50_000, seconds: int = 100) -> Stream:
    return Stream(f"M/M/1 at load {load:g}", samples, seconds, queue(load), queue_quantile(load))


def regimes_stream(slow: float, quick: float) -> Stream:
    name = f"on/off, {slow / 500:g} s slow, {quick / 500:g} s quick"
    return Stream(name, 50_000, 100, regimes(slow, quick), regimes_quantile(slow, quick))


PROMISED = (
    log_normal_stream(0.0),
    log_normal_stream(0.9),
    log_normal_stream(0.98),
    queue_stream(0.5),
    queue_stream(0.7),
    regimes_stream(50, 450),
    regimes_stream(15, 485),
)
# too few effective samples in the tail for a run of this length: what the method does where it cannot know
SHOWN = (
    log_normal_stream(0.998),
    queue_stream(0.9),
    regimes_stream(250, 2250),
    regimes_stream(50, 2450),
    log_normal_stream(0.5, 1020, 17),
)
