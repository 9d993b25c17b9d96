"""OpenSLO v1 as promises that one run can judge.

A run is short and OpenSLO's durations begin at a minute (`M` is months), so an SLO is judged over the run's steady
phase whatever its timeWindow says; the window is kept for the reader. Queries write `$window` for the steady phase
(harness.model.promql). What follows is from "Objectives" and "Ratio Metric" of the OpenSLO v1 specification:

thresholdMetric, `op` and `value`: the query's instant value at the end of the steady phase is one occurrence for each
series in the result, good when `observed op value` is true. A target above zero then asks for that one occurrence, so
every series must hold, and the worst is what was observed.

ratioMetric, good and total: good / total; bad and total: (total - bad) / total; compared as `>= target`. With
`counter: true` and a query that is a plain selector, or a sum of one, good, bad and total are differences of the raw
counters between the last samples at or before the two ends of the phase, resets handled, summed over series. Otherwise
the queries are asked as they stand at the end of the phase; a `counter: true` query must then look back by itself, as
`sum(increase(x[$window]))` does, since its bare value would count from the start of the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UsageError
from harness.model.openslo_objective import Objective, objective_from_dict
from harness.model.openslo_schema import IndicatorSpec, Sli, Slo, SloObjective
from harness.model.openslo_unbuilt import refuse_unbuilt
from harness.model.promql import PromQL, check_query
from harness.model.source import Document, Path_, load_documents, parse_model

__all__ = ["UNIT_ANNOTATION", "Objective", "load_objectives", "objective_from_dict"]

UNIT_ANNOTATION = "slo-harness/unit"  # on the SLO: the unit of a thresholdMetric, for example s
_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


@dataclass(frozen=True, slots=True)
class _Indicator:
    """An SLI with the place of its spec, so that its queries can be checked where they stand."""

    document: Document
    path: Path_
    spec: IndicatorSpec


def load_objectives(*paths: Path) -> list[Objective]:
    """The objectives of one or more files of OpenSLO v1 documents (SLO, and SLI for indicatorRef), in their order.

    Raises UsageError, located: what load_documents and parse_model raise, and not-built-yet, promql-syntax,
    counter-expression, bad-value, missing-field, unknown-reference, nothing-to-judge, duplicate-name.
    """
    objectives: dict[str, Objective] = {}
    for path in paths:
        for objective in _read(path):
            if (other := objectives.get(objective.slug)) is not None:
                raise UsageError(
                    "duplicate-name",
                    f"two objectives are named {objective.id!r}; the other stands at {other.location}",
                    "Give each SLO its own metadata.name and each of its objectives its own displayName.",
                    location=objective.location,
                )
            objectives[objective.slug] = objective
    return list(objectives.values())


def _read(path: Path) -> list[Objective]:
    documents = load_documents(path)
    for document in documents:
        refuse_unbuilt(document)
    slis: dict[str, _Indicator] = {}
    for document in documents:
        if isinstance(document.data, dict) and document.data.get("kind") == "SLI":
            sli = parse_model(document, Sli)
            indicator = _Indicator(document, ("spec",), sli.spec)
            _queries(indicator)  # checked even if no SLO refers to it
            slis[sli.metadata.name] = indicator
    objectives = [
        objective
        for document in documents
        if not isinstance(document.data, dict) or document.data.get("kind") != "SLI"
        for objective in _objectives(document, parse_model(document, Slo), slis)
    ]
    if not objectives:
        raise documents[0].error(
            ("kind",), "nothing-to-judge", f"{path.name} holds no SLO", "Add a document of kind: SLO.", on="value"
        )
    return objectives


def _objectives(document: Document, slo: Slo, slis: Mapping[str, _Indicator]) -> list[Objective]:
    indicator = _indicator(document, slo, slis)
    queries = _queries(indicator)
    listed = slo.spec.objectives
    if indicator.spec.thresholdMetric and len(listed) > 1:
        raise document.error(
            ("spec", "objectives", 1),
            "bad-value",
            "an SLO with a thresholdMetric has exactly one objective (OpenSLO v1)",
            "Write an SLO of its own for each threshold.",
        )
    return [_objective(document, slo, indicator, queries, at) for at in range(len(listed))]


def _objective(
    document: Document, slo: Slo, indicator: _Indicator, queries: Mapping[str, PromQL], at: int
) -> Objective:
    stated = slo.spec.objectives[at]
    path: Path_ = ("spec", "objectives", at)
    ratio = indicator.spec.ratioMetric
    share = _share(document, path, stated)
    for name in ("op", "value"):
        given = getattr(stated, name) is not None
        if ratio and given:
            raise document.error(
                (*path, name), "bad-value", f"{name!r} belongs to a thresholdMetric", "Remove it here.", on="key"
            )
        if not ratio and not given:
            remedy = "Write for example op: lt and value: 0.25."
            raise document.error(path, "missing-field", f"a thresholdMetric needs {name!r}", remedy)
    windows = slo.spec.timeWindow or []
    return Objective(
        id=f"objectives/{slo.metadata.name}/{stated.displayName or at}",
        slo=slo.metadata.name,
        kind="ratio" if ratio else "threshold",
        queries=queries,
        operator=">=" if ratio else _OPERATORS[stated.op or ""],
        target=share if ratio else float(stated.value or 0),
        unit="%" if ratio else slo.metadata.annotations.get(UNIT_ANNOTATION, ""),
        counter=bool(ratio and ratio.counter),
        service=slo.spec.service,
        description=slo.spec.description or indicator.spec.description,
        window=f"{windows[0].duration} rolling" if windows else "",
        location=document.locate(path),
    )


def _share(document: Document, path: Path_, stated: SloObjective) -> float:
    if stated.target is not None and stated.targetPercent is not None:
        cause = "target and targetPercent say the same thing twice"
        raise document.error((*path, "targetPercent"), "bad-value", cause, "Keep one of them.", on="key")
    if stated.target is None and stated.targetPercent is None:
        remedy = "Add for example target: 0.99."
        raise document.error(path, "missing-field", "an objective needs 'target' or 'targetPercent'", remedy)
    return stated.target if stated.target is not None else round((stated.targetPercent or 0) / 100, 12)


def _indicator(document: Document, slo: Slo, slis: Mapping[str, _Indicator]) -> _Indicator:
    inline, ref = slo.spec.indicator, slo.spec.indicatorRef
    if inline is not None and ref is not None:
        cause = "an SLO has an indicator or an indicatorRef, not both"
        raise document.error(("spec", "indicatorRef"), "bad-value", cause, "Remove one of them.", on="key")
    if inline is not None:
        return _Indicator(document, ("spec", "indicator", "spec"), inline.spec)
    if ref is None:
        remedy = "Add 'indicator' with the metric, or 'indicatorRef' with the name of an SLI of this file."
        raise document.error(("spec",), "missing-field", "'spec.indicator' is required", remedy, on="key")
    if ref not in slis:
        known = f"SLIs here: {', '.join(slis)}." if slis else "There is no document of kind SLI in this file."
        raise document.error(("spec", "indicatorRef"), "unknown-reference", f"no SLI named {ref!r}", known)
    return slis[ref]


def _queries(indicator: _Indicator) -> dict[str, PromQL]:
    document, path, spec = indicator.document, indicator.path, indicator.spec
    threshold, ratio = spec.thresholdMetric, spec.ratioMetric
    if (threshold is None) == (ratio is None):
        remedy = "Write exactly one of thresholdMetric and ratioMetric."
        cause = "an indicator has one metric, this has " + ("none" if ratio is None else "two")
        raise document.error(path, "bad-value", cause, remedy, on="key")
    if threshold is not None:
        at: Path_ = (*path, "thresholdMetric", "metricSource", "spec", "query")
        return {"value": check_query(document, at, threshold.metricSource.spec.query)}
    assert ratio is not None
    if (ratio.good is None) == (ratio.bad is None):
        remedy = "Write good and total, or bad and total."
        cause = "a ratioMetric has one of 'good' and 'bad', this has " + ("none" if ratio.bad is None else "both")
        raise document.error((*path, "ratioMetric"), "bad-value", cause, remedy, on="key")
    queries: dict[str, PromQL] = {}
    for role in ("good", "bad", "total"):
        metric = getattr(ratio, role)
        if metric is None:
            continue
        at = (*path, "ratioMetric", role, "metricSource", "spec", "query")
        queries[role] = query = check_query(document, at, metric.metricSource.spec.query)
        first = next(iter(queries.values()))
        if ratio.counter and (query.counter is None) != (first.counter is None):
            cause = f"counter: true, but {role} is measured otherwise than the query it is compared with"
            raise document.error(at, "counter-expression", cause, "Write both as counters, or both with a range.")
        if ratio.counter and query.counter is None and not query.ranged:
            cause = f"counter: true, but {role} is neither a selector, nor a sum of one, nor looks back over a range"
            remedy = (
                "Write the counter itself, for example http_requests_total{code='200'}; or counter: false for a gauge."
            )
            raise document.error(at, "counter-expression", cause, remedy)
    return queries
