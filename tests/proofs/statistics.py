"""What the intervals and the verdicts that rest on them are worth, on streams whose law is known, and how long a
verdict takes (`make prove-statistics`). Fixed seeds."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.jsonio import write_json
from harness.core.outcome import Outcome
from harness.results.rundir import RunDir
from harness.slo.judge import judge
from harness.slo.statistics.confidence import CONFIDENCE
from harness.slo.statistics.decision import decide
from harness.slo.statistics.quantiles import QuantileEstimate
from tests.proofs.abort import measure_aborts
from tests.proofs.big_run import FINDINGS, REQUESTS, write_run
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.settled import measure_settled
from tests.proofs.streams import PROMISED, SHOWN, UNIT, Stream, series_of

SEED = 20_261_124
QUANTILES = (0.5, 0.95, 0.99)
BESIDE = 0.1  # how far the true value lies from the bound, as a share of the bound
LIMITS = {"coverage": 0.93, "width": 1.5, "false_fail": 0.01, "false_pass": 0.01, "seconds_to_verdict": 1.0}


def measure(stream: Stream, trials: int) -> list[dict[str, Any]]:
    """One cell for each quantile.

    oracle_width: between the 2.5 % and 97.5 % quantiles of the estimator's own law, simulated by these same trials;
    width: the mean of the intervals' over it; effective_samples: q (1 - q) over the variance of the share below the
    true quantile.
    """
    random = np.random.default_rng(SEED)
    ends = {q: np.zeros((trials, 2)) for q in QUANTILES}
    seen, below = ({q: np.zeros(trials) for q in QUANTILES} for _ in range(2))
    for trial in range(trials):
        values = stream.draw(random, stream.samples)
        series = series_of(values, stream.seconds)
        for q in QUANTILES:
            ends[q][trial] = QuantileEstimate(series, q).interval()
            seen[q][trial] = series.histogram.quantile(q)
            below[q][trial] = np.mean(values <= stream.quantile(q))
    return [_cell(stream, q, ends[q], seen[q], below[q]) for q in QUANTILES]


def _cell(stream: Stream, quantile: float, ends: Any, seen: Any, below: Any) -> dict[str, Any]:
    truth = stream.quantile(quantile) * UNIT
    oracle = float(np.diff(np.quantile(seen, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))[0])
    widths = ends[:, 1] - ends[:, 0]
    inside, outside = truth / (1 - BESIDE), truth / (1 + BESIDE)  # bounds that hold, and do not
    when_held = [decide((low, high), "<", inside) for low, high in ends]
    when_broken = [decide((low, high), "<", outside) for low, high in ends]
    return {
        "stream": stream.name,
        "samples": stream.samples,
        "seconds": stream.seconds,
        "quantile": quantile,
        "trials": len(ends),
        "effective_samples": round(quantile * (1 - quantile) / float(np.var(below))),
        "coverage": round(float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))), 4),
        "below_the_interval": round(float(np.mean(truth < ends[:, 0])), 4),
        "above_the_interval": round(float(np.mean(truth > ends[:, 1])), 4),
        "oracle_width_ms": round(oracle / 1e6, 4),
        "width": round(float(np.mean(widths)) / oracle, 3) if np.isfinite(widths).all() else None,
        "median_width": round(float(np.median(widths)) / oracle, 3),
        "false_fail": when_held.count(Outcome.FAIL) / len(ends),
        "false_pass": when_broken.count(Outcome.PASS) / len(ends),
        "undecided_when_held": when_held.count(Outcome.INCONCLUSIVE) / len(ends),
        "undecided_when_broken": when_broken.count(Outcome.INCONCLUSIVE) / len(ends),
    }


def reached(cell: dict[str, Any]) -> bool:
    return bool(
        cell["coverage"] >= LIMITS["coverage"]
        and cell["width"] is not None
        and cell["width"] <= LIMITS["width"]
        and cell["false_fail"] <= LIMITS["false_fail"]
        and cell["false_pass"] <= LIMITS["false_pass"]
    )


def measure_verdict(repetitions: int = 5) -> dict[str, Any]:
    """Seconds from a run directory to its verdict, in a process that has loaded its modules."""
    with tempfile.TemporaryDirectory() as directory:
        run = write_run(RunDir.create(Path(directory), "big"))
        before, seconds = cpu_times(), []
        for _ in range(repetitions):
            began = time.perf_counter()
            verdict = judge(run)
            seconds.append(time.perf_counter() - began)
        size = sum(path.stat().st_size for path in run.load.iterdir())
    return {
        "requests": REQUESTS,
        "promises": FINDINGS,
        "findings": len(verdict.findings),
        "run_megabytes": round(size / 1e6, 1),
        "seconds": [round(one, 3) for one in seconds],
        "median_seconds": round(float(np.median(seconds)), 3),
        "conditions": conditions(before),
    }


def show(cell: dict[str, Any]) -> str:
    width = "unbounded" if cell["width"] is None else f"{cell['width']:.2f}"
    return (
        f"{cell['stream']:38} p{100 * cell['quantile']:<3g} n {cell['samples']:,} (as {cell['effective_samples']:,} "
        f"independent): coverage {cell['coverage']:.3f} of {CONFIDENCE}, width {width} of the oracle's "
        f"{cell['oracle_width_ms']:g} ms; false fail {cell['false_fail']:.4f}, false pass {cell['false_pass']:.4f}, "
        f"undecided {cell['undecided_when_held']:.3f} and {cell['undecided_when_broken']:.3f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    verdict = measure_verdict()
    print(f"verdict: {verdict}", flush=True)
    parts: dict[str, list[dict[str, Any]]] = {"promised": [], "shown": []}
    for part, streams in (("promised", PROMISED), ("shown", SHOWN)):
        for stream in streams:
            before = cpu_times()
            cells = measure(stream, options.trials if part == "promised" else max(1, options.trials // 4))
            for cell in cells:
                cell |= {"reached": reached(cell), "conditions": conditions(before)}
                print(f"{'yes' if cell['reached'] else 'NO ':4}{show(cell)}", flush=True)
            parts[part] += cells
    abort = measure_aborts(options.trials)
    settled = measure_settled(options.trials)
    held = all(cell["reached"] for cell in parts["promised"]) and abort["held"] and settled["held"]
    held = held and verdict["median_seconds"] <= LIMITS["seconds_to_verdict"]
    told = {"limits": LIMITS, "held": held, "seed": SEED, "verdict": verdict, "abort": abort, "settled": settled}
    write_json(options.out, told | parts)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
