"""Log-linear histogram of non-negative integers: what every sample is kept in, and what is merged.

Values below 2^(K+1) have a bucket each. Above, the binary order of magnitude e = floor(log2 v) is cut into 2^K equal
parts, so the bucket of v is (e - K) * 2^K + (v >> (e - K)), with K = 9. A bucket is 2^(e-K) wide; its middle is off by
at most 2^-(K+1) = 0.098 % of the value. Counts and the sum are exact integers, and merging is addition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

K = 9
SUB = 1 << K


def bucket_of(value: int) -> int:
    """The index of the bucket that holds `value` (>= 0)."""
    if value < 2 * SUB:
        return value
    exponent = value.bit_length() - 1
    return (exponent - K) * SUB + (value >> (exponent - K))


def bucket_edges(index: int) -> tuple[int, int]:
    """(lowest value in the bucket, lowest value above it)."""
    if index < 2 * SUB:
        return index, index + 1
    shift = index // SUB - 1
    low = (index - shift * SUB) << shift
    return low, low + (1 << shift)


def buckets_of(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`bucket_of` for an array. Exact: the exponent comes from frexp and is put right where a float rounded up."""
    exponent = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
    exponent = np.where(exponent > 62, 62, exponent)
    exponent -= (values >> np.maximum(exponent, 0)) == 0  # rounding to the next power of two
    shift = np.maximum(exponent - K, 0)
    large = (exponent - K) * SUB + (values >> shift)
    result: npt.NDArray[np.int64] = np.where(values < 2 * SUB, values, large)
    return result


class Histogram:
    """Sparse counts per bucket, with exact count, sum, minimum and maximum."""

    __slots__ = ("buckets", "count", "max", "min", "sum")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.sum = 0
        self.min = 0
        self.max = 0

    def record(self, values: Iterable[int]) -> None:
        """Add values. Raises ValueError if one is negative; then none of them is added."""
        array = np.fromiter(values, dtype=np.int64)
        if not array.size:
            return
        low, high = int(array.min()), int(array.max())
        if low < 0:
            raise ValueError(f"a histogram holds no negative value, got {low}")
        self.min = min(self.min, low) if self.count else low
        self.max = max(self.max, high)
        for index, count in zip(*np.unique(buckets_of(array), return_counts=True), strict=True):
            self.buckets[int(index)] = self.buckets.get(int(index), 0) + int(count)
        self.count += array.size
        self.sum += sum(array.tolist()) if high > 1 << 40 else int(array.sum())

    def merge(self, other: Histogram) -> None:
        """Add all of `other`."""
        if not other.count:
            return
        self.min = min(self.min, other.min) if self.count else other.min
        self.max = max(self.max, other.max)
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count
        self.count += other.count
        self.sum += other.sum

    def quantile(self, q: float) -> int:
        """The nearest-rank q-quantile (0 < q <= 1): the middle of its bucket, within [min, max].

        Raises ValueError if empty.
        """
        if not self.count:
            raise ValueError("an empty histogram has no quantile")
        rank, seen = max(1, math.ceil(q * self.count - 1e-9)), 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                low, high = bucket_edges(index)
                return min(max((low + high - 1) // 2, self.min), self.max)
        raise AssertionError("counts of buckets and the total disagree")

    def as_dict(self) -> dict[str, Any]:
        return {"count": self.count, "sum": self.sum, "min": self.min, "max": self.max,
                "buckets": sorted(self.buckets.items())}  # fmt: skip

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
