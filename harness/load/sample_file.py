"""The file a load worker leaves: one JSON object a line, one write(2) a line, and at the end what must be there.

    {"type":"hello","schema":1,"sub_bits":9,"worker","pid","origin_mono_ns","origin_wall_ns"}
    {"type":"trend","seq","phase","second","metric","tags",  "unit","scale","histogram":{...}}
    {"type":"rate", "seq","phase","second","metric","tags",  "true","total"}
    {"type":"counter","seq","phase","second","metric","tags","count"}
    {"type":"arrivals","seq","phase","second","scheduled","started","on_time_1ms","dropped","starved",
     "lateness":{...},"waited":{...}}
    {"type":"end","reason":"done|interrupted|error","detail","records","totals":{"trend","rate","counter","arrivals"}}

Records are differences: a reader adds them up. second: since the origin; phase: warmup | steady; both by scheduled
time. A trend's values are integers in unit/scale. totals: samples, observations, counts and arrivals in all records.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.model.histogram import Histogram, K

SCHEMA = 1


class SampleFile:
    """Appends records. Every method raises OSError when the line could not be written whole."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._records = 0
        self._totals = Counter({"trend": 0, "rate": 0, "counter": 0, "arrivals": 0})

    def hello(self, **fields: Any) -> None:
        self._write({"type": "hello", "schema": SCHEMA, "sub_bits": K, **fields})

    def trend(
        self, metric: str, tags: Mapping[str, str], when: tuple[int, str], unit: str, scale: int, histogram: Histogram
    ) -> None:
        values = {"unit": unit, "scale": scale, "histogram": histogram.as_dict()}
        self._record("trend", metric, tags, when, histogram.count, values)

    def rate(self, metric: str, tags: Mapping[str, str], when: tuple[int, str], true: int, total: int) -> None:
        self._record("rate", metric, tags, when, total, {"true": true, "total": total})

    def counter(self, metric: str, tags: Mapping[str, str], when: tuple[int, str], count: int) -> None:
        self._record("counter", metric, tags, when, count, {"count": count})

    def arrivals(self, when: tuple[int, str], scheduled: int, fields: Mapping[str, Any]) -> None:
        self._totals["arrivals"] += scheduled
        record = {"type": "arrivals", "seq": self._records, "phase": when[1], "second": when[0]}
        self._records += 1
        self._write({**record, "scheduled": scheduled, **fields})

    def end(self, reason: str, detail: str) -> None:
        """The last line; closes the file."""
        end = {"type": "end", "reason": reason, "detail": detail, "records": self._records, "totals": self._totals}
        self._write(end)
        os.close(self._fd)

    def _record(
        self, kind: str, metric: str, tags: Mapping[str, str], when: tuple[int, str], size: int, values: dict[str, Any]
    ) -> None:
        self._totals[kind] += size
        record = {"type": kind, "seq": self._records, "phase": when[1], "second": when[0]}
        self._records += 1
        self._write({**record, "metric": metric, "tags": tags, **values})

    def _write(self, record: Mapping[str, Any]) -> None:
        if not os.fstat(self._fd).st_nlink:
            raise OSError("the file of sample records is gone: somebody has removed it")
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        if (written := os.write(self._fd, line)) != len(line):
            raise OSError(f"only {written} of {len(line)} bytes of a sample record were written: is the disk full?")
