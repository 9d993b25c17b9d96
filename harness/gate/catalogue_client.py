"""What the clients saw before, during and after a fault, and second by second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.results.samples import Samples
from harness.results.series import Series

SHARES = {"p50_ms": 0.5, "p99_ms": 0.99}


def seconds_of_windows(windows: Mapping[str, tuple[float, float]]) -> dict[str, tuple[int, int]]:
    """Whole seconds since the origin, the second not included. A second in which the fault begins is the fault's, and
    one in which it ends is nobody's."""
    asked, ending, ended = windows["before"][1], windows["during"][1], windows["after"][0]
    return {
        "before": (math.ceil(windows["before"][0]), math.floor(asked)),
        "during": (math.floor(asked), max(math.floor(asked) + 1, math.floor(ending))),
        "after": (math.ceil(ended), math.floor(windows["after"][1])),
    }


def clients(samples: Samples, windows: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Request name, or `all` -> phase -> count, p50_ms, p99_ms (None without requests), errors: kind -> how many."""
    names = samples.request_names()
    return {
        name or "all": {phase: _of(samples, name, window) for phase, window in windows.items()} for name in ["", *names]
    }


def _of(samples: Samples, name: str, window: tuple[int, int]) -> dict[str, Any]:
    tags = {"name": name} if name else {}
    latency = samples.select("latency", tags).between(*window)
    errors = {
        outcome: count
        for outcome in _outcomes(samples, tags)
        if outcome != "ok"
        and (count := samples.select("requests", {**tags, "outcome": outcome}).between(*window).count)
    }
    return {**_latencies(latency), "errors": errors}


def _outcomes(samples: Samples, tags: Mapping[str, str]) -> list[str]:
    return samples.tag_values("requests", "outcome", tags)


def _latencies(latency: Series) -> dict[str, Any]:
    histogram = latency.histogram
    found: dict[str, Any] = {"count": histogram.count}
    for key, share in SHARES.items():
        found[key] = round(histogram.quantile(share) / 1e6, 2) if histogram.count else None
    return found


def timeline(samples: Samples, warmup: int, end: int) -> list[dict[str, Any]]:
    """For each second since the warm-up, of those that were due in it: count, p50_ms, p99_ms, errors."""
    latency, errors = samples.timeline("latency", {}), samples.timeline("errors", {})
    found = []
    for second in range(warmup, end):
        failed = errors[second].true if second in errors else 0
        found.append({"second": second - warmup, **_latencies(latency.get(second, Series())), "errors": failed})
    return found
