"""Samples of one metric, merged when somebody asks: the records of a run are many, and few of them are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.model.histogram import Histogram

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Packed:
    """A histogram as it was read: buckets and counts in two arrays, a fraction of what a dictionary costs."""

    count: int
    sum: int
    min: int
    max: int
    buckets: Integers
    counts: Integers

    @classmethod
    def read(cls, head: Mapping[str, Any], pairs: bytes) -> Packed:
        """From the four totals and the text `[bucket,count],[bucket,count],...`. Raises ValueError when the text is
        not that, or the counts do not add up."""
        flat = np.fromstring(pairs.translate(None, b"[]").decode(), dtype=np.int64, sep=",")  # twice as fast as JSON
        if flat.size != 2 * pairs.count(b"]"):
            raise ValueError("the buckets of a stored histogram are not pairs")
        made = cls(head["count"], int(head["sum"]), head["min"], head["max"], flat[0::2], flat[1::2])
        if int(made.counts.sum()) != made.count:
            raise ValueError("the counts of a stored histogram do not add up")
        return made


@dataclass(frozen=True)
class Blocks:
    """A series cut into equal stretches of time, in order; the last may be shorter.

    seconds: length of a block; totals, events: observations in each, and what they add up to: the sum of a trend's
    values, a rate's number of true ones; buckets, below: for a trend, the buckets that occur, ascending, and how many
    observations of each block (rows) lie in them or lower ones (columns).
    """

    seconds: int
    totals: Integers
    events: npt.NDArray[np.float64]
    buckets: Integers
    below: Integers


@dataclass(eq=False)
class Series:
    """Samples of one metric. kind: trend | rate | counter, or '' when nothing was recorded.

    A trend's values are integers in `unit` / `scale` (latencies: ns, scale 1), in `histogram`; a rate is `true` of
    `total`; a counter is `counted`.
    """

    kind: str = ""
    unit: str = ""
    scale: float = 1.0
    true: int = 0
    total: int = 0
    counted: int = 0
    _samples: int = 0
    _records: list[Mapping[str, Any]] = field(default_factory=list)
    _blocks: dict[int, Blocks] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of observations."""
        return {"trend": self._samples, "rate": self.total, "counter": self.counted}.get(self.kind, 0)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one record of a worker's file, before anything is asked that needs all of them."""
        self.kind, self.unit, self.scale = record["type"], record.get("unit", ""), record.get("scale", 1.0)
        if self.kind == "trend":
            self._samples += record["histogram"].count
        elif self.kind == "rate":
            self.true += record["true"]
            self.total += record["total"]
        else:
            self.counted += record["count"]
        self._records.append(record)

    @cached_property
    def _by_second(self) -> dict[int, list[Mapping[str, Any]]]:
        found: dict[int, list[Mapping[str, Any]]] = {}
        for record in self._records:
            found.setdefault(record["second"], []).append(record)
        return found

    def between(self, first: int, end: int) -> Series:
        """The samples of the seconds from `first` to before `end`, both since the origin; empty if there are none."""
        part = Series()
        for second in range(first, end):
            for record in self._by_second.get(second, ()):
                part.add(record)
        return part

    @cached_property
    def seconds(self) -> dict[int, Series]:
        """The same by second since the origin."""
        found: dict[int, Series] = {}
        for record in self._records:
            found.setdefault(record["second"], Series()).add(record)
        return found

    @cached_property
    def histogram(self) -> Histogram:
        """All values of a trend."""
        made = Histogram()
        packed = [record["histogram"] for record in self._records if record["histogram"].count]
        if self.kind != "trend" or not packed:
            return made
        made.count, made.sum = self._samples, sum(one.sum for one in packed)
        made.min, made.max = min(one.min for one in packed), max(one.max for one in packed)
        blocks = self.blocks(1)
        counts = np.diff(blocks.below[0], prepend=0)
        made.buckets = dict(zip(blocks.buckets.tolist(), counts.tolist(), strict=True))
        return made

    def blocks(self, most: int) -> Blocks:
        """The samples in at most `most` blocks of whole seconds, as short as that allows, from the first second in
        which there is a sample to the last."""
        if most not in self._blocks:
            self._blocks[most] = self._cut(most)
        return self._blocks[most]

    def _cut(self, most: int) -> Blocks:
        of_record = np.array([record["second"] for record in self._records], dtype=np.int64)
        first, last = int(of_record.min()), int(of_record.max())
        length = -(-(last - first + 1) // most)
        number = (last - first) // length + 1
        of_record = (of_record - first) // length
        empty: Integers = np.zeros(0, dtype=np.int64)
        totals, events = np.zeros(number, dtype=np.int64), np.zeros(number)
        if self.kind != "trend":
            name, part = ("total", "true") if self.kind == "rate" else ("count", "count")
            np.add.at(totals, of_record, [record[name] for record in self._records])
            np.add.at(events, of_record, [record[part] for record in self._records])
            return Blocks(length, totals, events, empty, empty)
        packed: list[Packed] = [record["histogram"] for record in self._records]
        np.add.at(totals, of_record, [one.count for one in packed])
        np.add.at(events, of_record, [float(one.sum) for one in packed])
        every = np.concatenate([one.buckets for one in packed])
        present = np.zeros(int(every.max()) + 1, dtype=bool)
        present[every] = True
        used = np.flatnonzero(present)
        column = np.cumsum(present) - 1
        cells = np.repeat(of_record, [one.buckets.size for one in packed]) * used.size + column[every]
        weights = np.concatenate([one.counts for one in packed]).astype(np.float64)
        counts = np.bincount(cells, weights, minlength=number * used.size).reshape(number, used.size)
        return Blocks(length, totals, events, used, np.cumsum(counts.astype(np.int64), axis=1))
