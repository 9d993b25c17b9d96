"""Log-linear histogram of non-negative integers: what every sample is kept in, and what is merged.

Values below 2^(K+1) have a bucket each. Above, the binary order of magnitude e = floor(log2 v) is cut into 2^K equal
parts, so the bucket of v is (e - K) * 2^K + (v >> (e - K)), with K = 9. A bucket is 2^(e-K) wide, and its middle is off
by at most 2^-(K+1) = 0.098 % of the value. Buckets reach to the largest int64 (292 years of nanoseconds), so nothing is
clipped. Counts, sum, minimum and maximum are exact, and merging is addition: in any order, in any grouping.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

K = 9
SUB = 1 << K
LARGEST = (1 << 63) - 1
_MANY = 250  # so many values at a time are worth an array
_EXACT = 1 << 53  # up to here a float64 holds every integer
_FOLD = 40  # larger values are looked up at v >> 40, forty orders of magnitude lower
_MANTISSA = 52 - K
_OFFSET = ((1023 + K) << K) - SUB  # what the float's exponent and leading bits exceed the bucket by


def bucket_of(value: int) -> int:
    """The index of the bucket that holds `value` (0 <= value < 2^63)."""
    if value < 2 * SUB:
        return value
    shift = value.bit_length() - 1 - K
    return shift * SUB + (value >> shift)


def bucket_edges(index: int) -> tuple[int, int]:
    """(lowest value in the bucket, lowest value above it): with s = index // 2^K - 1, (index - s * 2^K) * 2^s and 2^s
    above it; below 2^(K+1) the value itself."""
    if index < 2 * SUB:
        return index, index + 1
    shift = index // SUB - 1
    low = (index - shift * SUB) << shift
    return low, low + (1 << shift)


def buckets_of(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`bucket_of` for an array, exactly: a float64's exponent and leading mantissa bits are the bucket, up to 2^53."""
    large = values >= _EXACT
    folded = np.where(large, values >> _FOLD, values)
    found = (folded.astype(np.float64).view(np.int64) >> _MANTISSA) - _OFFSET
    found += np.where(large, _FOLD * SUB, 0)
    result: npt.NDArray[np.int64] = np.where(folded < 2 * SUB, folded, found)
    return result


class Histogram:
    """Counts per bucket, with exact count, sum, minimum and maximum (0 while empty).

    What is recorded many at a time is counted in an array, 100 kB for times up to minutes, until somebody asks.
    """

    __slots__ = ("_dense", "_sparse", "count", "max", "min", "sum")

    def __init__(self) -> None:
        self._sparse: dict[int, int] = {}
        self._dense: npt.NDArray[np.int64] | None = None  # counts that are not in the dictionary yet
        self.count = 0
        self.sum = 0
        self.min = 0
        self.max = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.as_dict() == other.as_dict()

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def buckets(self) -> dict[int, int]:
        """Bucket -> how many values, of those that hold one."""
        if self._dense is not None:
            dense, self._dense = self._dense, None
            used = np.flatnonzero(dense)
            for index, count in zip(used.tolist(), dense[used].tolist(), strict=True):
                self._sparse[index] = self._sparse.get(index, 0) + count
        return self._sparse

    @buckets.setter
    def buckets(self, counts: dict[int, int]) -> None:
        self._sparse, self._dense = counts, None

    def record(self, values: Iterable[int]) -> None:
        """Add values. Raises ValueError for a negative one and OverflowError above 2^63 - 1; then none is added."""
        array = values if isinstance(values, np.ndarray) else np.fromiter(values, dtype=np.int64)
        if not array.size:
            return
        low, high = int(array.min()), int(array.max())
        if low < 0:
            raise ValueError(f"a histogram holds no negative value, got {low}")
        self.min = min(self.min, low) if self.count else low
        self.max = max(self.max, high)
        self.count += array.size
        self.sum += int(array.sum()) if high < LARGEST // array.size else sum(array.tolist())
        found = buckets_of(array)
        if array.size >= _MANY:
            self._add(np.bincount(found))
            return
        used, counts = np.unique(found, return_counts=True)
        for index, count in zip(used.tolist(), counts.tolist(), strict=True):
            self._sparse[index] = self._sparse.get(index, 0) + count

    def _add(self, counts: npt.NDArray[np.int64]) -> None:
        """Counts by bucket, from the first one on; the array becomes this histogram's own."""
        mine = self._dense
        if mine is None or len(mine) < len(counts):
            if mine is not None:
                counts[: len(mine)] += mine
            self._dense = counts
        else:
            mine[: len(counts)] += counts

    def merge(self, other: Histogram) -> None:
        """Add all of `other`."""
        if not other.count:
            return
        self.min = min(self.min, other.min) if self.count else other.min
        self.max = max(self.max, other.max)
        if other._dense is not None:
            self._add(other._dense.copy())
        for index, count in other._sparse.items():
            self._sparse[index] = self._sparse.get(index, 0) + count
        self.count += other.count
        self.sum += other.sum

    def quantile(self, q: float) -> int:
        """The nearest-rank q-quantile (0 <= q <= 1): the middle of its bucket, within [min, max].

        Raises ValueError if empty.
        """
        if not self.count:
            raise ValueError("an empty histogram has no quantile")
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, got {q}")
        # the decimal as written, not its float: 0.07 of 100 is the 7th value and not the 8th
        rank, seen = max(1, math.ceil(Fraction(repr(float(q))) * self.count)), 0
        buckets = self.buckets
        for index in sorted(buckets):
            seen += buckets[index]
            if seen >= rank:
                low, above = bucket_edges(index)
                return min(max((low + above - 1) // 2, self.min), self.max)
        raise AssertionError("counts of buckets and the total disagree")

    def count_below(self, value: int) -> int:
        """How many values are smaller than `value`. Exact where `value` is the lower edge of a bucket; elsewhere the
        values that share its bucket are not counted (they differ from it by less than 0.2 %)."""
        if value > self.max:
            return self.count
        if value <= self.min:
            return 0
        limit = bucket_of(value)
        return sum(count for index, count in self.buckets.items() if index < limit)

    def as_dict(self) -> dict[str, Any]:
        """JSON form, buckets as [index, count] in order. A sum too large for a JSON reader's 64 bits is a string."""
        total: int | str = self.sum if self.sum <= LARGEST else str(self.sum)
        if self._dense is not None and not self._sparse:
            used = np.flatnonzero(self._dense)
            pairs = np.stack((used, self._dense[used]), axis=1).tolist()
        else:
            pairs = sorted([index, count] for index, count in self.buckets.items())
        return {"count": self.count, "sum": total, "min": self.min, "max": self.max, "buckets": pairs}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Histogram:
        """Raises ValueError when the counts of the buckets do not add up to the total."""
        made = cls()
        made.buckets = {int(index): int(count) for index, count in stored["buckets"]}
        made.count, made.sum = int(stored["count"]), int(stored["sum"])
        made.min, made.max = int(stored["min"]), int(stored["max"])
        if sum(made.buckets.values()) != made.count:
            raise ValueError("the counts of a stored histogram do not add up")
        return made
