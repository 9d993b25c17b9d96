"""SLOs with all that they refer to: what runs, rules and budgets are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.model.openslo_alerts import BurnAlert, check_policies, policies_of
from harness.model.openslo_catalog import Catalog, read_catalog
from harness.model.openslo_goal import Goal, read_goals
from harness.model.openslo_indicator import Indicator, indicator_at, read_indicators
from harness.model.openslo_schema_slo import Slo
from harness.model.openslo_window import Window, read_window
from harness.model.source import Document


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """One SLO, resolved. method: Occurrences | Timeslices | RatioTimeslices; composite: each goal has an indicator of
    its own; window: None where the SLO states none; parsed: what stands in the file; document: which one."""

    name: str
    method: str
    composite: bool
    goals: tuple[Goal, ...]
    window: Window | None
    alerts: tuple[BurnAlert, ...]
    parsed: Slo
    document: Document

    def refuse(self, what: str) -> None:
        """Raises UsageError not-built-yet, located, for what `what` leaves out ("a run does not judge"): composite
        SLOs."""
        if self.composite:
            field = "indicator" if self.parsed.spec.objectives[0].indicator else "indicatorRef"
            cause = f"{what} a composite SLO yet"
            remedy = "Write an SLO of its own for each indicator."
            raise self.document.error(("spec", "objectives", 0, field), "not-built-yet", cause, remedy, on="key")


def load_service_levels(paths: Sequence[Path]) -> list[ServiceLevel]:
    """The SLOs of some files, in their order, all references followed.

    Raises UsageError, located: file-unreadable, file-empty, yaml-syntax, unknown-field, missing-field, bad-value,
    not-built-yet, duplicate-name, unknown-reference, promql-syntax, counter-expression, nothing-to-judge.
    """
    catalog = read_catalog(paths)
    indicators = read_indicators(catalog)
    check_policies(catalog)
    found = [_service_level(catalog, document, slo, indicators) for document, slo in catalog.slos.values()]
    if paths and not found:
        names = ", ".join(path.name for path in paths)
        first = catalog.documents[0]
        raise first.error(("kind",), "nothing-to-judge", f"no SLO in {names}", "Add a document of kind: SLO.")
    return found


def _service_level(catalog: Catalog, document: Document, slo: Slo, indicators: Mapping[str, Indicator]) -> ServiceLevel:
    spec = slo.spec
    if catalog.services:  # where services are described, a name that is none of them is a mistake
        catalog.check("Service", spec.service, document, ("spec", "service"))
    own = indicator_at(catalog, document, ("spec",), spec.indicator, spec.indicatorRef, indicators)
    composite = any(one.indicator or one.indicatorRef for one in spec.objectives)
    if own is not None and composite:
        at = next(at for at, one in enumerate(spec.objectives) if one.indicator or one.indicatorRef)
        field = "indicator" if spec.objectives[at].indicator else "indicatorRef"
        cause = "this objective has an indicator, and so has the SLO"
        remedy = "Keep the SLO's, or give each objective its own (a composite SLO)."
        raise document.error(("spec", "objectives", at, field), "bad-value", cause, remedy, on="key")
    if own is None and not composite:
        remedy = "Add 'indicator' with the metric, or 'indicatorRef' with the name of an SLI."
        raise document.error(("spec",), "missing-field", "'spec.indicator' is required", remedy, on="key")
    if own is not None and own.kind == "threshold" and len(spec.objectives) > 1:
        cause = "an SLO with a thresholdMetric has exactly one objective (OpenSLO v1)"
        remedy = "Write an SLO of its own for each threshold."
        raise document.error(("spec", "objectives", 1), "bad-value", cause, remedy)
    goals = read_goals(catalog, document, slo, own, indicators)
    windows = spec.timeWindow or []
    return ServiceLevel(
        name=slo.metadata.name,
        method=spec.budgetingMethod,
        composite=composite,
        goals=goals,
        window=read_window(document, ("spec", "timeWindow", 0), windows[0]) if windows else None,
        alerts=tuple(policies_of(catalog, document, spec.alertPolicies)),
        parsed=slo,
        document=document,
    )
