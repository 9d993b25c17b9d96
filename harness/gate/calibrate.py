"""Measures the noise floor of this machine: our own load against a service that answers at once, nothing in between."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import harness
from harness.core.clock import wall_ns
from harness.core.errors import HarnessError
from harness.load.engine import LoadEngine
from harness.model.calibration import Calibration
from harness.model.events import Event, PhaseEvent
from harness.model.histogram import Histogram
from harness.model.load import STEADY, LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from harness.stack.machine.identity import read_machine
from harness.stack.machine.watcher import Watcher

WARMUP_NS = 1_000_000_000
SLEEP_NS = 1_000_000
SCENARIO = Path(harness.__file__).parent / "load" / "null_scenario.py"
_SECOND = 1_000_000_000


def calibrate(seconds: float, rate: float, tell: Callable[[Event], None]) -> Calibration:
    """Takes about three seconds longer than `seconds`. Raises HarnessError calibration-failed, worker-failed,
    worker-died."""
    with tempfile.TemporaryDirectory(prefix="slo-harness-") as directory:
        return _measure(RunDir.create(Path(directory), "calibration"), seconds, rate, tell)


def _measure(run: RunDir, seconds: float, rate: float, tell: Callable[[Event], None]) -> Calibration:
    with null_service(run.logs / "null.log") as host:
        plan = LoadPlan(str(SCENARIO), rate, WARMUP_NS, round(seconds * _SECOND), host=host)
        engine = LoadEngine(plan, run)
        watcher = Watcher(run.path / "machine.jsonl", SLEEP_NS, each=True)
        try:
            engine.prepare()
            with watcher:
                engine.start()
                tell(PhaseEvent("calibration", "begin", plan.length_ns / _SECOND))
                began = wall_ns()
                for tick in engine.ticks():
                    tell(tick)
        finally:
            engine.stop()
        samples = load_samples(run.load)
        _check(samples, plan.arrivals)
    stalls = Histogram()
    stalls.record([max(0, late) for line in watcher.lines for late in line.get("late", ())])
    if watcher.record.ended or not stalls.count:
        raise _failed(f"the process that watches the machine saw nothing: {watcher.record.ended}")
    return Calibration(
        harness=harness.__version__,
        wall_ns=began,
        machine=read_machine(),
        rate=rate,
        seconds=seconds,
        latency=samples.select("latency", {}).histogram,
        service_time=samples.select("service_time", {}).histogram,
        lateness=samples.arrivals_in[STEADY].lateness,
        stalls=stalls,
        steal=watcher.record.steal(began, wall_ns()),
    )


@contextmanager
def null_service(log: Path) -> Iterator[str]:
    """The base URL of a service that answers everything at once; it ends with the block, or with this process. log: for
    what it has to say."""
    command = [sys.executable, "-m", "harness.load.null_service"]
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip()
            if not port:
                said = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise _failed(f"the null service did not start: {' '.join(said) or process.wait()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _check(samples: Samples, arrivals: int) -> None:
    """Raises HarnessError unless every request was sent, answered and reported."""
    for worker in samples.workers:
        if not worker.complete:
            raise _failed(f"load worker {worker.name} did not report in full: {worker.reason}")
    counts = samples.counts("null")
    if (answered := counts.outcomes.get("ok", 0)) != arrivals:
        raise _failed(f"{answered} of {arrivals} requests were answered: {counts.outcomes}")


def _failed(cause: str) -> HarnessError:
    return HarnessError("calibration-failed", cause, "Run it again; `harness doctor` tells what is wrong here.")
