"""What the machine was doing while a number was taken: without it a number means nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

MAX_STEAL = 0.05  # share of CPU time taken by other machines above which a run counts as disturbed


def cpu_times() -> dict[str, int]:
    """The first line of /proc/stat: jiffies of all processors together since boot."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    return dict(zip(names, map(int, fields), strict=True))


def steal_share(before: dict[str, int], after: dict[str, int]) -> float:
    """Share of the processors' time between two readings that the hypervisor gave to others."""
    spent = {name: after[name] - before[name] for name in before}
    return spent["steal"] / max(1, sum(spent.values()))


def no_op() -> float:
    """Microseconds that a fixed piece of pure Python takes: compare machines, and moments of one machine."""
    best = []
    for _ in range(5):
        began = time.perf_counter()
        sum(range(200_000))
        best.append((time.perf_counter() - began) * 1e6)
    return round(sorted(best)[2], 1)


def conditions(before: dict[str, int]) -> dict[str, Any]:
    """Load average, steal since `before`, processors and the no-op calibration, to stand beside a number."""
    return {
        "cpus": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "steal": round(steal_share(before, cpu_times()), 4),
        "no_op_us": no_op(),
    }
