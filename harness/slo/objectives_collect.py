"""What the store says of an objective, written down: see harness.slo.objectives for the shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.model.openslo_objective import Objective
from harness.model.promql import PromQL
from harness.slo.objectives_raw import scrape_interval
from harness.slo.objectives_values import by_counter
from harness.slo.objectives_wording import encode
from harness.telemetry.metrics import MetricsStore, QueryFailed

SCHEMA = 2
UNKNOWN_INTERVAL = 15.0  # Prometheus's habit, for how far to look back when it does not say
_MOST_POINTS = 10_000  # Prometheus refuses 11,000 of one series in one answer


@dataclass(frozen=True, slots=True)
class Window:
    """The steady phase on the wall clock."""

    start_wall_ns: int
    end_wall_ns: int


class _Failed(Exception):
    def __init__(self, question: str, failure: QueryFailed) -> None:
        super().__init__(question, failure.kind, failure.detail)
        self.as_dict = {"question": question, "kind": failure.kind, "detail": failure.detail}


def collect_objective(store: MetricsStore, objective: Objective, window: Window) -> dict[str, Any]:
    """The evidence about `objective` over `window`. Does not raise for what the store does, and stops asking at the
    first question that it cannot answer. The last scrape of the window must be in: see wait_for_sample."""
    length = objective.part_ns or window.end_wall_ns - window.start_wall_ns
    evidence: dict[str, Any] = {
        "schema": SCHEMA,
        "objective": objective.id,
        "window": {"start_ns": window.start_wall_ns, "end_ns": window.end_wall_ns},
        "targets": [],
        "queries": {
            role: {"text": query.text, "rendered": query.render(length), "instant": None}
            for role, query in objective.queries.items()
        },
        "raw": {},
        "parts": None,
        "failed": None,
    }
    try:
        _collect(store, objective, window, evidence)
    except _Failed as failed:
        evidence["failed"] = failed.as_dict
    return evidence


def part_ends(start_ms: int, end_ms: int, length_ms: int, step_ms: int) -> list[int]:
    """The ends of the parts: the last at the end of the phase, each `step_ms` after the one before. Where the phase is
    no whole number of steps, one more lies at its beginning, so that nothing of it is left out. None where the phase
    is shorter than a part."""
    first = start_ms + length_ms
    ends = list(range(end_ms, first - 1, -step_ms))[::-1]
    return [first, *ends] if ends and ends[0] != first else ends


def _collect(store: MetricsStore, objective: Objective, window: Window, evidence: dict[str, Any]) -> None:
    targets = store.targets()
    if isinstance(targets, QueryFailed):
        if targets.kind in ("store-down", "timeout"):
            raise _Failed("targets", targets)
        targets = []  # a store that speaks PromQL need not scrape
    evidence["targets"] = [
        {"job": t.job, "instance": t.instance, "interval": t.interval, "health": t.health} for t in targets
    ]
    before = 3 * max((t.interval for t in targets), default=UNKNOWN_INTERVAL)
    for role, query in objective.queries.items():
        if objective.part_ns is None and not by_counter(objective, role):
            evidence["queries"][role]["instant"] = _instant(store, evidence["queries"][role]["rendered"], window)
        _raw(store, query, window, before, evidence["raw"])
    if objective.part_ns is not None:
        _collect_parts(store, objective, window, evidence)


def _instant(store: MetricsStore, text: str, window: Window) -> list[dict[str, Any]]:
    answer = store.instant(text, window.end_wall_ns)
    if isinstance(answer, QueryFailed):
        raise _Failed(text, answer)
    return [{"labels": dict(p.labels), "value": encode(p.value), "time": p.time} for p in answer.series]


def _raw(store: MetricsStore, query: PromQL, window: Window, before: float, into: dict[str, Any]) -> None:
    for selector in query.selectors:
        if selector in into:
            continue
        samples = store.raw(selector, window.start_wall_ns - round(before * 1e9), window.end_wall_ns)
        if isinstance(samples, QueryFailed):
            raise _Failed(selector, samples)
        into[selector] = [
            {"labels": dict(s.labels), "samples": [[t, encode(v)] for t, v in s.samples]} for s in samples.series
        ]


def _collect_parts(store: MetricsStore, objective: Objective, window: Window, evidence: dict[str, Any]) -> None:
    """Which parts the phase has, and the value of each query that is asked at the end of every part, or, where a slice
    is judged by its moments, at each of them."""
    start_ms, end_ms = window.start_wall_ns // 1_000_000, window.end_wall_ns // 1_000_000
    length_ms = (objective.part_ns or 0) // 1_000_000
    scrape_ms = max(1, round(1000 * (scrape_interval(evidence["raw"], evidence["targets"]) or UNKNOWN_INTERVAL)))
    step_ms = length_ms if objective.slices else scrape_ms
    ends = part_ends(start_ms, end_ms, length_ms, step_ms)
    moments = list(range(end_ms, start_ms, -scrape_ms))[::-1] if objective.by_moments else None
    evidence["parts"] = {"length_ms": length_ms, "ends_ms": ends, "moments_ms": moments}
    for role in objective.queries:
        if not by_counter(objective, role):
            asked, every = (moments, scrape_ms) if moments is not None else (ends, step_ms)
            text = evidence["queries"][role]["rendered"]
            evidence["queries"][role]["range"] = _range(store, text, asked, every)


def _range(store: MetricsStore, text: str, at_ms: Sequence[int], step_ms: int) -> list[dict[str, Any]]:
    """The values of a query at `at_ms`, all `step_ms` apart but perhaps the first two."""
    odd = 1 if len(at_ms) > 1 and at_ms[1] - at_ms[0] != step_ms else 0
    spans = [at_ms[:odd], *(at_ms[at : at + _MOST_POINTS] for at in range(odd, len(at_ms), _MOST_POINTS))]
    found: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
    for span in spans:
        if not span:
            continue
        answer = store.range(text, span[0] * 1_000_000, span[-1] * 1_000_000, step_ms / 1000)
        if isinstance(answer, QueryFailed):
            raise _Failed(text, answer)
        for one in answer.series:
            values = found.setdefault(tuple(sorted(one.labels.items())), [])
            values += [[t, encode(v)] for t, v in one.samples]
    return [{"labels": dict(labels), "samples": samples} for labels, samples in sorted(found.items())]
