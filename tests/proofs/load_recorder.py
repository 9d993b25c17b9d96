"""What it costs to record a sample, to add up histograms, and how much memory many samples take.

    python -m tests.proofs.load_recorder --trials 7 --into results/proofs/load.json      this part alone

A sample is one call of `sent` and one of `finished`, as each request makes them, with the chunked folding into buckets
that comes with them, and a flush to the file after each second's worth. Memory is that of a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from harness.core.clock import mono_ns
from harness.load.recorder import Recorder
from harness.load.sink import Moment
from harness.model.histogram import Histogram
from harness.model.load import LoadPlan
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.part import measure_part

SAMPLES, EACH_SECOND, MERGED = 400_000, 20_000, 1000
FEW, MANY = 100_000, 10_000_000
MUST = {"sample_ns": 200.0, "merge_ms": 50.0, "memory_ratio": 1.05}
AIM = {"sample_ns": 100.0}


class _Ok:
    error = None
    size = 1000


def record(recorder: Recorder, samples: int, origin: int) -> float:
    """Seconds of CPU that so many samples took, flushed once for each second of theirs."""
    channel, reply, step = recorder.channel("POST", "search"), _Ok(), 1_000_000_000 // EACH_SECOND
    latencies = np.random.default_rng(1).lognormal(14, 0.5, 4096).astype(np.int64).tolist()
    moments = [Moment(0, 0) for _ in range(64)]
    began = time.process_time()
    for number in range(samples):
        due = origin + number * step
        moment = moments[number & 63]
        moment.due_ns = moment.since_ns = due
        channel.sent(moment)
        channel.finished(moment, due, due + latencies[number & 4095], reply)
        if number % EACH_SECOND == EACH_SECOND - 1:
            recorder.flush()
    return time.process_time() - began


def empty(samples: int, origin: int) -> float:
    """The same loop without the recorder."""
    step, latencies = 1_000_000_000 // EACH_SECOND, list(range(4096))
    moments = [Moment(0, 0) for _ in range(64)]
    began = time.process_time()
    for number in range(samples):
        due = origin + number * step
        moment = moments[number & 63]
        moment.due_ns = moment.since_ns = due
        _ = due + latencies[number & 4095]
        if number % EACH_SECOND == EACH_SECOND - 1:
            _ = 0
    return time.process_time() - began


def plan_for(samples: int) -> LoadPlan:
    return LoadPlan("s.py", float(EACH_SECOND), 0, (samples // EACH_SECOND + 1) * 1_000_000_000)


def sample_ns() -> float:
    with tempfile.TemporaryDirectory() as directory:
        recorder = Recorder(Path(directory) / "load-0.jsonl", plan_for(SAMPLES))
        recorder.begin(origin := mono_ns(), "load-0")
        record(recorder, EACH_SECOND, origin)  # warm
        spent = record(recorder, SAMPLES, origin)
    return (spent - empty(SAMPLES, origin)) / SAMPLES * 1e9


def merge_ms() -> float:
    """A thousand histograms of a thousand lognormal latencies each, added to one."""
    drawn = np.random.default_rng(2)
    parts = []
    for _ in range(MERGED):
        one = Histogram()
        one.record(drawn.lognormal(14, 0.5, 1000).astype(np.int64))
        parts.append(one)
    whole = Histogram()
    began = time.process_time()
    for one in parts:
        whole.merge(one)
    spent = time.process_time() - began
    if whole.count != MERGED * 1000:
        raise AssertionError(f"{whole.count} samples of {MERGED * 1000}")
    return spent * 1e3


def memory_bytes(samples: int) -> int:
    """Resident bytes of a process that has recorded so many."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.proofs.load_recorder", "--record", str(samples)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    return int(done.stdout)


def _record_and_say(samples: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        recorder = Recorder(Path(directory) / "load-0.jsonl", plan_for(samples))
        recorder.begin(origin := mono_ns(), "load-0")
        record(recorder, samples, origin)
        print(psutil.Process().memory_info().rss)


def measure_recorder(rounds: int) -> dict[str, Any]:
    """What results/proofs/load.json holds of this."""
    before = cpu_times()
    each = {"sample_ns": [sample_ns() for _ in range(rounds)], "merge_ms": [merge_ms() for _ in range(rounds)]}
    memory = {"few": memory_bytes(FEW), "many": memory_bytes(MANY)}
    each["memory_ratio"] = [memory["many"] / memory["few"]]
    rows = []
    for name, values in each.items():
        middle = median(values)
        spread = [round(min(values), 3), round(max(values), 3)]
        row = {"measure": name, "ours": round(middle, 3), "spread": spread, "must": MUST[name], "aim": AIM.get(name)}
        rows.append(row | {"held": middle <= MUST[name]})
        print(rows[-1], flush=True)
    held = all(row["held"] for row in rows)
    return {"rows": rows, "memory_bytes": memory, "held": held, "conditions": conditions(before)}


if __name__ == "__main__":
    if "--record" in sys.argv:
        _record_and_say(int(sys.argv[2]))
        sys.exit(0)
    sys.exit(measure_part("recorder", measure_recorder))
