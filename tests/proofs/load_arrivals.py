"""Whether arrivals come when they are due: punctuality of a constant rate, the law of random ones, a frozen server.

    python -m tests.proofs.load_arrivals --trials 3 --into results/proofs/load.json      this part alone

Punctuality: the engine's own record of each arrival's lateness, against a service that answers at once; the worker has
core 1, the service core 0. Freeze: a server that stands still for 2 s of 20 at 200/s; of 4,000 arrivals the 400 that
come due meanwhile wait up to 2 s, so that p95 is 1.0 s and p99 1.8 s, whatever the client does meanwhile. Random
arrivals: gaps of 20 seeds against the exponential law (Kolmogorov-Smirnov).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.part import measure_part

SECOND = 1_000_000_000
NULL = Path(__file__).parents[2] / "harness/load/null_scenario.py"
RATES = {5000: (0.998, 0.9995), 10000: (0.99, 0.998)}  # a second -> must, aim
RATE_SECONDS, FREEZE_SECONDS, FROZEN_SECONDS, FREEZE_RATE = 30, 20, 2.0, 200.0
SEEDS, POISSON_RATE, LEAST_P = 20, 500.0, 0.01


@contextmanager
def service(core: int | None = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The null service, and its base URL."""
    command = [sys.executable, "-m", "harness.load.null_service"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            assert process.stdout is not None
            yield process, f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def drive(plan: LoadPlan, begun: Callable[[int], None] | None = None, core: int | None = 1) -> Samples:
    """One load, to its end. begun: is told the origin."""
    with tempfile.TemporaryDirectory() as directory:
        engine = LoadEngine(plan, run := RunDir.create(Path(directory), "proof"))
        try:
            engine.prepare()
            for pid in engine.pids:
                if core is not None:
                    os.sched_setaffinity(pid, {core})
            origin = engine.start()
            if begun is not None:
                begun(origin)
            for _ in engine.ticks():
                pass
        finally:
            engine.stop()
        return load_samples(run.load)


def punctual(rate: int) -> dict[str, float]:
    with service() as (_, host):
        samples = drive(LoadPlan(str(NULL), float(rate), 2 * SECOND, RATE_SECONDS * SECOND, host))
    found = samples.arrivals_in["steady"]
    return {
        "share": found.on_time_1ms / found.scheduled,
        "p99_us": round(found.lateness.quantile(0.99) / 1e3, 1),
        "scheduled": found.scheduled,
    }


def frozen() -> dict[str, float]:
    """p95 and p99 in seconds, of all that was due from the origin on."""
    with service() as (process, host):

        def freeze(origin: int) -> None:
            begin = origin + 5 * SECOND

            def both() -> None:
                for moment, number in ((begin, signal.SIGSTOP), (begin + FROZEN_SECONDS * SECOND, signal.SIGCONT)):
                    time.sleep(max(0.0, (moment - time.monotonic_ns()) / 1e9))
                    process.send_signal(number)

            threading.Thread(target=both).start()

        plan = LoadPlan(str(NULL), FREEZE_RATE, 0, FREEZE_SECONDS * SECOND, host, users=500)
        latency = drive(plan, freeze).select("latency", {}).histogram
    return {"p95": latency.quantile(0.95) / 1e9, "p99": latency.quantile(0.99) / 1e9, "samples": latency.count}


def poisson() -> list[float]:
    """p of each seed."""
    found = []
    for seed in range(1, SEEDS + 1):
        plan = LoadPlan("s.py", POISSON_RATE, 0, 60 * SECOND, executor="poisson", seed=seed)
        gaps = np.diff(np.array([0, *plan.timetable(0)])) / 1e9
        found.append(float(stats.kstest(gaps, "expon", args=(0, 1 / POISSON_RATE)).pvalue))
    return found


def measure_arrivals(rounds: int) -> dict[str, Any]:
    """What results/proofs/load.json holds of this."""
    before = cpu_times()
    rows: list[dict[str, Any]] = []
    for rate, (must, aim) in RATES.items():
        each = [punctual(rate) for _ in range(rounds)]
        share = median(one["share"] for one in each)
        rows.append({"measure": f"sent within 1 ms at {rate}/s", "ours": share, "must": must, "aim": aim,
                     "rounds": each, "held": share >= must})  # fmt: skip
        print(rows[-1], flush=True)
    each = [frozen() for _ in range(rounds)]
    for name, truth in (("p95", 1.0), ("p99", 1.8)):
        seen = median(one[name] for one in each)
        off = abs(seen - truth) / truth
        rows.append({"measure": f"freeze test, {name}", "ours": seen, "truth": truth, "off": off, "must": 0.02,
                     "aim": 0.005, "rounds": each, "held": off <= 0.02})  # fmt: skip
        print(rows[-1], flush=True)
    values = poisson()
    passed = sum(value > LEAST_P for value in values)
    rows.append({"measure": "poisson, seeds with p > 0.01", "ours": passed, "of": SEEDS, "must": SEEDS - 1,
                 "p": [round(value, 4) for value in values], "held": passed >= SEEDS - 1})  # fmt: skip
    print(rows[-1], flush=True)
    return {"rows": rows, "held": all(row["held"] for row in rows), "conditions": conditions(before)}


if __name__ == "__main__":
    sys.exit(measure_part("arrivals", measure_arrivals))
