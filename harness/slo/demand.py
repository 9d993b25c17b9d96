"""How many samples a promise wants before any run can show that it is kept. Pure arithmetic, known without a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.model.openslo_objective import Objective
from harness.model.threshold import Threshold
from harness.slo.statistics.confidence import TAIL, samples_needed

_KINDS = {"latency": "trend", "service_time": "trend", "errors": "rate", "requests": "counter"}
FITS = {  # kind of metric -> its aggregations
    "trend": ("count", "avg", "min", "max", "quantile"),
    "rate": ("count", "rate"),
    "counter": ("count", "rate"),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What it takes to pass.

    kind: counted (`samples` independent ones, none of them a miss) | fact (judged as it stands, from one on) | scatter
    (as many as the scatter of the values asks for; `samples` where they are 0 and 1 alone) | never (no number of
    samples is enough) | mismatch (the metric has no such aggregation); why: of the last two.
    """

    kind: Literal["counted", "fact", "scatter", "never", "mismatch"]
    samples: int = 1
    why: str = ""


def threshold_demand(threshold: Threshold) -> Demand:
    """Of the steady phase, or of each window if the threshold is over windows."""
    kind = _KINDS.get(threshold.metric, "trend")
    if threshold.aggregation not in FITS[kind]:
        allowed = ", ".join(FITS[kind]).replace("quantile", "med, p(N)")
        return Demand("mismatch", 0, f"{threshold.metric} is a {kind}: it has {allowed}, not {threshold.aggregation}")
    if threshold.operator in ("==", "!=") or threshold.aggregation in ("count", "min", "max") or kind == "counter":
        return Demand("fact")
    if threshold.quantile is not None:
        return Demand("counted", samples_needed(max(threshold.quantile, 1 - threshold.quantile)))
    wanted = share_samples(threshold.operator, threshold.value)
    if threshold.aggregation == "avg":
        return Demand("scatter", wanted if wanted is not None and threshold.unit != "s" else 1)
    if wanted is None:
        exact = "; write rate==0 if no exception is meant" if threshold.operator == "<=" and not threshold.value else ""
        return Demand("never", 0, f"the interval of a share always reaches beyond {threshold.condition_text}{exact}")
    return Demand("counted", wanted)


def objective_demand(objective: Objective) -> Demand:
    """Ratios of raw counters are shares of events; anything else is the store's own number, judged as it stands, and so
    is a share of good time slices."""
    if objective.slices is not None and objective.slices.value is not None:
        return Demand("fact")
    if objective.kind != "ratio" or not objective.counter or any(q.counter is None for q in objective.queries.values()):
        return Demand("fact")
    wanted = share_samples(objective.operator, objective.target)
    if wanted is None:
        promise = f"{objective.operator} {objective.target:g}"
        return Demand("never", 0, f"the interval of a share always reaches beyond {promise}")
    return Demand("counted", wanted)


def share_samples(operator: str, bound: float) -> int | None:
    """How few samples, all of them kept, show a share to be `operator bound` (an inequality); None: no number does.

    Of n samples without an event the share is at most 1 - TAIL^(1/n), of n that are all events at least TAIL^(1/n)
    (harness.slo.statistics.shares.exact).
    """
    kept = 1 - bound if operator in ("<", "<=") else bound  # the least share of samples that keep the promise
    strict = operator in ("<", ">")
    if kept >= 1:
        return None
    if kept <= 0:
        return 1
    exact = math.log(TAIL) / math.log(kept)
    return max(1, math.floor(exact) + 1 if strict else math.ceil(exact))
