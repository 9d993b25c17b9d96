"""Whether a short series of block values goes up or down, robust against single bad blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trend:
    """change: from the first value to the last along the fitted line, in the values' unit; chance: how often values
    without a trend would show one as clear as this, in either direction."""

    change: float
    chance: float


def trend(values: npt.ArrayLike) -> Trend:
    """Mann and Kendall's test with the slope of Theil and Sen, for n >= 3 values at equal distances.

    S = sum of sign(x_j - x_i) over i < j has without a trend the variance (n(n-1)(2n+5) - ties) / 18
    (M. G. Kendall, Rank Correlation Methods, 1975). Neighbours that are alike make it larger, by
    1 + 2 / (n(n-1)(n-2)) * sum over k of (n-k)(n-k-1)(n-k-2) r_k, with the autocorrelation r of the ranks of what is
    left when the trend is taken off (K. H. Hamed and A. R. Rao, Journal of Hydrology 204 (1998) 182; taking it off
    first: S. Yue and C. Wang, Water Resources Management 18 (2004) 201; a parabola here, or the bend of a warm-up
    would count as correlation); never below 1. The slope is the median of
    those of all pairs (P. K. Sen, J. Am. Stat. Assoc. 63 (1968) 1379).
    """
    x = np.asarray(values, dtype=np.float64)
    n = x.size
    first, second = np.triu_indices(n, 1)
    rises = x[second] - x[first]
    slope = float(np.median(rises / (second - first)))
    score = float(np.sign(rises).sum())
    tied = np.unique(x, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - float((tied * (tied - 1) * (2 * tied + 5)).sum())) / 18
    variance *= max(1.0, _alike(x))
    if not score or not variance:
        return Trend(slope * (n - 1), 1.0)
    z = (abs(score) - 1) / math.sqrt(variance)
    return Trend(slope * (n - 1), min(1.0, 2 * float(ndtr(-z))))


def _alike(x: Array) -> float:
    """The factor of Hamed and Rao, of the lags whose correlation is significant at 5 %, one-sided."""
    n = x.size
    at = np.arange(n)
    rest = x - np.polyval(np.polyfit(at, x, min(2, n - 1)), at)
    if np.ptp(rest) <= 1e-9 * np.ptp(x):  # rounding alone
        return 1.0
    ranks = np.argsort(np.argsort(rest)).astype(np.float64)
    ranks -= ranks.mean()
    square = float(ranks @ ranks)
    factor = 0.0
    for lag in range(1, n - 2):
        found = float(ranks[lag:] @ ranks[:-lag]) / square
        if abs(found) > 1.645 / math.sqrt(n):
            factor += (n - lag) * (n - lag - 1) * (n - lag - 2) * found
    return 1 + 2 / (n * (n - 1) * (n - 2)) * factor
