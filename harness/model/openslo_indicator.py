"""What an SLI measures: a value, a ratio of two counts, or a ratio that somebody else worked out; queries checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.model.openslo_catalog import Catalog
from harness.model.openslo_schema import IndicatorSpec, InlineIndicator, Metric, RatioMetric
from harness.model.openslo_sources import read_query, source_of
from harness.model.promql import PromQL, check_query
from harness.model.source import Document, Path_


@dataclass(frozen=True, slots=True)
class Indicator:
    """An SLI, resolved.

    kind: threshold | ratio | raw; queries: role -> query, roles `value`, or `good` | `bad` and `total`, or `raw`;
    counter: the queries of a ratio are counters; raw_type: what a raw ratio is the share of; document, path: where
    its spec stands.
    """

    kind: Literal["threshold", "ratio", "raw"]
    queries: Mapping[str, PromQL]
    counter: bool
    raw_type: Literal["success", "failure"] | None
    description: str
    document: Document
    path: Path_

    def query_path(self, role: str) -> Path_:
        """Where the query of a role stands."""
        step: Path_ = ("thresholdMetric",) if role == "value" else ("ratioMetric", role)
        return (*self.path, *step, "metricSource", "spec", "query")


def indicator_at(
    catalog: Catalog,
    document: Document,
    path: Path_,
    inline: InlineIndicator | None,
    ref: str | None,
    read: Mapping[str, Indicator],
) -> Indicator | None:
    """The indicator of the SLO or objective at `path`, in place or out of `read`, by reference; None if it has none.

    Raises UsageError bad-value, unknown-reference, and what read_indicator raises.
    """
    if inline is not None and ref is not None:
        cause = "an indicator stands here or is referred to, not both"
        raise document.error((*path, "indicatorRef"), "bad-value", cause, "Remove one of them.", on="key")
    if inline is not None:
        return read_indicator(catalog, document, (*path, "indicator", "spec"), inline.spec)
    if ref is None:
        return None
    catalog.check("SLI", ref, document, (*path, "indicatorRef"))
    return read[ref]


def read_indicators(catalog: Catalog) -> dict[str, Indicator]:
    """All SLI objects, also those that no SLO refers to, by name. Raises what read_indicator raises."""
    return {
        name: read_indicator(catalog, document, ("spec",), sli.spec) for name, (document, sli) in catalog.slis.items()
    }


def read_indicator(catalog: Catalog, document: Document, path: Path_, spec: IndicatorSpec) -> Indicator:
    """The indicator whose spec stands at `path`.

    Raises UsageError, located: bad-value, missing-field, unknown-field, unknown-reference, promql-syntax,
    counter-expression.
    """
    threshold, ratio = spec.thresholdMetric, spec.ratioMetric
    if (threshold is None) == (ratio is None):
        cause = "an indicator has one metric, this has " + ("none" if ratio is None else "two")
        raise document.error(path, "bad-value", cause, "Write one of thresholdMetric and ratioMetric.", on="key")
    if threshold is not None:
        queries = {"value": _query(catalog, document, (*path, "thresholdMetric"), threshold)}
        return Indicator("threshold", queries, False, None, spec.description, document, path)
    assert ratio is not None
    _check_parts(document, (*path, "ratioMetric"), ratio)
    queries = {
        role: _query(catalog, document, (*path, "ratioMetric", role), metric) for role, metric in _metrics(ratio)
    }
    if ratio.raw is not None:
        return Indicator("raw", queries, False, ratio.rawType, spec.description, document, path)
    found = Indicator("ratio", queries, bool(ratio.counter), None, spec.description, document, path)
    if found.counter:
        _check_counters(found)
    return found


def _metrics(ratio: RatioMetric) -> Iterator[tuple[str, Metric]]:
    parts = {"good": ratio.good, "bad": ratio.bad, "total": ratio.total, "raw": ratio.raw}
    return ((role, metric) for role, metric in parts.items() if metric is not None)


def _check_parts(document: Document, path: Path_, ratio: RatioMetric) -> None:
    roles = [role for role, _ in _metrics(ratio)]
    if ratio.raw is not None:
        if len(roles) > 1:
            cause = f"a raw ratio stands by itself, here with {roles[0]}"
            raise document.error((*path, roles[0]), "bad-value", cause, f"Remove raw or {roles[0]}.", on="key")
        if ratio.rawType is None:
            cause = "a raw ratio needs 'rawType': what it is the share of"
            raise document.error((*path, "raw"), "missing-field", cause, "Add rawType: success or failure.", on="key")
        return
    if ratio.rawType is not None:
        cause = "rawType belongs to a raw ratio, and there is no 'raw'"
        raise document.error((*path, "rawType"), "bad-value", cause, "Remove it, or add 'raw'.", on="key")
    if (ratio.good is None) == (ratio.bad is None):
        cause = "a ratioMetric has one of 'good' and 'bad', this has " + ("none" if ratio.bad is None else "both")
        raise document.error(
            path, "bad-value", cause, "Write good and total, or bad and total, or raw and rawType.", on="key"
        )
    if ratio.total is None:
        raise document.error(path, "missing-field", "a ratioMetric needs 'total'", "Add 'total' here.", on="key")
    if ratio.counter is None:
        cause = "a ratioMetric of counts needs 'counter'"
        remedy = "Add counter: true for counters that only rise, false for other numbers."
        raise document.error(path, "missing-field", cause, remedy, on="key")


def _query(catalog: Catalog, document: Document, path: Path_, metric: Metric) -> PromQL:
    at: Path_ = (*path, "metricSource")
    if metric.metricSource.metricSourceRef is not None:
        catalog.check("DataSource", metric.metricSource.metricSourceRef, document, (*at, "metricSourceRef"))
    source = source_of(document, at, metric.metricSource, catalog.sources)
    text = read_query(document, (*at, "spec"), source)
    return check_query(document, (*at, "spec", "query"), text)


def _check_counters(indicator: Indicator) -> None:
    first = next(iter(indicator.queries.values()))
    for role, query in indicator.queries.items():
        at, document = indicator.query_path(role), indicator.document
        if (query.counter is None) != (first.counter is None):
            cause = f"counter: true, but {role} is measured otherwise than the query it is compared with"
            raise document.error(at, "counter-expression", cause, "Write both as counters, or both with a range.")
        if query.counter is None and not query.ranged:
            cause = f"counter: true, but {role} is neither a selector, nor a sum of one, nor looks back over a range"
            remedy = (
                "Write the counter itself, for example http_requests_total{code='200'}; or counter: false for a gauge."
            )
            raise document.error(at, "counter-expression", cause, remedy)
