"""How often a load is ended at the limit of a promise, and how soon beyond it (part of `make prove-statistics`).

    python -m tests.proofs.abort --into results/proofs/statistics.json      this part alone

Beside the rule that is used stand the two that were not taken: the exact binomial test with an error of
alpha / (k (k + 1)) at look k, and the beta mixture, both looked at once a second.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincc, betaln
from scipy.stats import binom

from harness.slo.statistics.confidence import TAIL
from harness.slo.statistics.sequential import BLOCK_SECONDS, Wealth
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.part import measure_part
from tests.proofs.streams import (
    PROMISED,
    Stream,
    log_normal_stream,
    queue_stream,
    regimes_stream,
)

SEED = 20_261_125
ALLOWED = 0.01  # a p99
BEYOND = (1, 2, 5)  # times what is allowed
FEW = log_normal_stream(0.0, 6_000, 100)
PROMISES = (FEW, *PROMISED)
LONGER = (log_normal_stream(0.998), queue_stream(0.9), regimes_stream(250, 2250))  # alike for about a block
Counts = npt.NDArray[np.float64]


def by_blocks(missed: Counts, each: int) -> float:
    """Seconds until the load is ended, infinite if it is not. missed: by second, of `each` samples."""
    wealth = Wealth()
    for number, block in enumerate(missed[: missed.size // BLOCK_SECONDS * BLOCK_SECONDS].reshape(-1, BLOCK_SECONDS)):
        wealth.add(float(block.sum()), ALLOWED * each * BLOCK_SECONDS)
        if wealth.breaks(TAIL):
            return float((number + 1) * BLOCK_SECONDS)
    return math.inf


def by_binomial_tests(missed: Counts, each: int) -> float:
    look = np.arange(1, missed.size + 1)
    return _first(binom.sf(missed.cumsum() - 1, each * look, ALLOWED) <= TAIL / (look * (look + 1)))


def by_beta_mixture(missed: Counts, each: int) -> float:
    """The prior has its mean at the limit, weighs as half a miss, and is cut below the limit."""
    some, every = missed.cumsum(), each * np.arange(1.0, missed.size + 1)
    a, b = 0.5, 0.5 * (1 - ALLOWED) / ALLOWED
    above = betaincc(some + a, every - some + b, ALLOWED) / betaincc(a, b, ALLOWED)
    logs = betaln(some + a, every - some + b) - betaln(a, b) + np.log(np.maximum(above, 1e-300))
    logs -= some * math.log(ALLOWED) + (every - some) * math.log1p(-ALLOWED)
    return _first(logs >= -math.log(TAIL))


RULES = {"blocks": by_blocks, "binomial_tests": by_binomial_tests, "beta_mixture": by_beta_mixture}


def _first(hit: npt.NDArray[np.bool_]) -> float:
    return float(hit.argmax() + 1) if hit.any() else math.inf


def measure(stream: Stream, trials: int) -> list[dict[str, Any]]:
    """One cell for each share of misses. ended: share of the runs; median_seconds: to the end, None if most go on."""
    random = np.random.default_rng(SEED)
    each = stream.samples // stream.seconds
    stops: dict[tuple[int, str], list[float]] = {(times, rule): [] for times in BEYOND for rule in RULES}
    bounds = {times: stream.quantile(1 - times * ALLOWED) for times in BEYOND}
    for _ in range(trials):
        values = stream.draw(random, stream.samples)
        for times, bound in bounds.items():
            missed = (values > bound).reshape(stream.seconds, each).sum(axis=1).astype(float)
            for name, rule in RULES.items():
                stops[times, name].append(rule(missed, each))
    return [_cell(stream, times, {name: stops[times, name] for name in RULES}, trials) for times in BEYOND]


def _cell(stream: Stream, times: int, stops: dict[str, list[float]], trials: int) -> dict[str, Any]:
    shape = {"stream": stream.name, "samples": stream.samples, "seconds": stream.seconds}
    return shape | {
        "times_allowed": times,
        "trials": trials,
        "ended": {name: float(np.mean(np.isfinite(found))) for name, found in stops.items()},
        "median_seconds": {
            name: (middle if math.isfinite(middle := float(np.median(found))) else None)
            for name, found in stops.items()
        },
    }


def measure_aborts(trials: int) -> dict[str, Any]:
    """What results/proofs/statistics.json holds of this. held: at the limit no more runs are ended than TAIL allows, on
    each of the streams of which that is promised."""
    before = cpu_times()
    parts: dict[str, Any] = {"allowed": ALLOWED, "alpha": TAIL, "seed": SEED}
    for part, streams, number in (("promised", PROMISES, trials), ("shown", LONGER, trials)):
        parts[part] = []
        for stream in streams:
            parts[part] += (cells := measure(stream, number))
            print("\n".join(f"{show(cell)}" for cell in cells), flush=True)
    at_limit = [cell["ended"]["blocks"] for cell in parts["promised"] if cell["times_allowed"] == 1]
    return parts | {"held": max(at_limit) <= TAIL, "conditions": conditions(before)}


def show(cell: dict[str, Any]) -> str:
    told = [
        f"{name} {cell['ended'][name]:.4f} ({cell['median_seconds'][name] or math.inf:.0f} s)" for name in cell["ended"]
    ]
    return f"{cell['stream']:36} n {cell['samples']:,} at {cell['times_allowed']} x: ended {', '.join(told)}"


if __name__ == "__main__":
    sys.exit(measure_part("abort", measure_aborts))
