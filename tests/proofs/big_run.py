"""A recorded run of ten million requests and two hundred promises, as a load worker would have left it."""

from __future__ import annotations

import numpy as np

from harness.load.sample_file import SampleFile
from harness.model.histogram import Histogram
from harness.results.rundir import RunDir

NAMES = ("search", "predict")
SECONDS, A_SECOND = 600, 8334  # of each name
REQUESTS = len(NAMES) * SECONDS * A_SECOND
FINDINGS = 200


def write_run(run: RunDir) -> RunDir:
    """Fill the directory: plan.json, load/load-0.jsonl, evidence/counts.json. Latencies are log-normal with a median
    of 20 ms that wanders by a few percent from second to second."""
    random = np.random.default_rng(7)
    run.load.mkdir(parents=True, exist_ok=True)
    file = SampleFile(run.load / "load-0.jsonl")
    file.hello(worker="load-0", pid=1, origin_mono_ns=0, origin_wall_ns=0)
    for second in range(SECONDS):
        when = (second, "steady")
        for name in NAMES:
            tags = {"name": name, "outcome": "ok"}
            latency, service = Histogram(), Histogram()
            middle = 2e7 * np.exp(0.05 * random.normal())
            values = (middle * random.lognormal(0, 0.4, A_SECOND)).astype(np.int64)
            latency.record(values)
            service.record((values * 0.9).astype(np.int64))
            file.trend("latency", tags, when, "ns", 1, latency)
            file.trend("service_time", tags, when, "ns", 1, service)
            file.counter("requests", tags, when, A_SECOND)
            file.rate("errors", {"name": name}, when, int(random.binomial(A_SECOND, 0.0005)), A_SECOND)
            file.counter("sent", {"name": name}, when, A_SECOND)
        lateness = Histogram()
        lateness.record(np.full(len(NAMES) * A_SECOND, 50_000))
        due = len(NAMES) * A_SECOND
        arrivals = {"started": due, "on_time_1ms": due, "dropped": 0, "starved": 0}
        empty = Histogram().as_dict()
        file.arrivals(when, due, {**arrivals, "lateness": lateness.as_dict(), "waited": empty})
    file.end("done", "")
    load = {"warmup": 0, "duration": SECONDS * 10**9, "maxLateness": 5_000_000}
    thresholds = [one for name in NAMES for one in _promises(name)]
    plan = {"name": "big", "load": load, "thresholds": thresholds, "objectives": [], "allowed_unvalidated": False}
    run.write("plan.json", plan)
    served = {name: _counter(name) for name in NAMES}
    run.write("evidence/counts.json", served)
    return run


def _promises(name: str) -> list[list[str]]:
    """A hundred: percentiles with bounds that hold, that do not, and that lie where nothing decides."""
    percentiles = [50 + at for at in range(0, 48, 2)] + [99, 99.9]
    found = [
        [f"{metric}{{name:{name}}}", f"p({percentile:g})<{bound}ms"]
        for metric in ("latency", "service_time")
        for percentile in percentiles[:24]
        for bound in (25, 200)
    ]
    return [
        *found,
        [f"latency{{name:{name}}}", "p(99.9)<100ms"],
        [f"latency{{name:{name}}}", "avg<30ms"],
        [f"errors{{name:{name}}}", "rate<0.1%"],
        [f"requests{{name:{name}}}", "rate>8000/s"],
    ]


def _counter(name: str) -> dict[str, object]:
    return {"service": "app", "series": f"{name}_total", "before": 0, "after": SECONDS * A_SECOND}
