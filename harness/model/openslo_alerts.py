"""Alert policies, resolved: the condition under which one alerts, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.model.openslo_catalog import Catalog
from harness.model.openslo_duration import shorthand_seconds
from harness.model.openslo_schema_alert import AlertConditionSpec, AlertPolicySpec
from harness.model.openslo_schema_slo import SloAlertPolicy
from harness.model.source import Document, Path_

_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """One condition of one policy: `burn rate over lookback_s` operator threshold, for `after_s`.

    name: of the policy; severity: in the author's words; breaching, resolved, no_data: when it tells anybody;
    targets: the names of those that are told.
    """

    name: str
    severity: str
    operator: str
    threshold: float
    lookback_s: int
    after_s: int
    breaching: bool
    resolved: bool
    no_data: bool
    targets: tuple[str, ...]
    description: str


def check_policies(catalog: Catalog) -> None:
    """Raises UsageError, located, for a reference that leads nowhere, also of a policy that no SLO refers to."""
    for name, (document, policy) in catalog.policies.items():
        _read(catalog, document, ("spec",), name, policy.spec)


def policies_of(catalog: Catalog, document: Document, stated: list[SloAlertPolicy]) -> Iterator[BurnAlert]:
    """The alerts of an SLO. Raises UsageError, located: missing-field, bad-value, unknown-reference."""
    for at, entry in enumerate(stated):
        path: Path_ = ("spec", "alertPolicies", at)
        if _referred(document, path, "AlertPolicy", "alertPolicyRef", entry.alertPolicyRef, entry.spec is not None):
            ref = str(entry.alertPolicyRef)
            catalog.check("AlertPolicy", ref, document, (*path, "alertPolicyRef"))
            home, policy = catalog.policies[ref]
            yield _read(catalog, home, ("spec",), ref, policy.spec)
        else:
            assert entry.spec is not None
            name = entry.metadata.name if entry.metadata else f"policy-{at}"
            yield _read(catalog, document, (*path, "spec"), name, entry.spec)


def _read(catalog: Catalog, document: Document, path: Path_, name: str, policy: AlertPolicySpec) -> BurnAlert:
    condition = _condition(catalog, document, (*path, "conditions", 0), policy)
    rule = condition.condition
    return BurnAlert(
        name=name,
        severity=condition.severity,
        operator=_OPERATORS[rule.op],
        threshold=rule.threshold,
        lookback_s=shorthand_seconds(rule.lookbackWindow),
        after_s=shorthand_seconds(rule.alertAfter),
        breaching=policy.alertWhenBreaching,
        resolved=policy.alertWhenResolved,
        no_data=policy.alertWhenNoData,
        targets=tuple(_targets(catalog, document, (*path, "notificationTargets"), policy)),
        description=condition.description or policy.description,
    )


def _condition(catalog: Catalog, document: Document, path: Path_, policy: AlertPolicySpec) -> AlertConditionSpec:
    (stated,) = policy.conditions
    if _referred(document, path, "AlertCondition", "conditionRef", stated.conditionRef, stated.spec is not None):
        catalog.check("AlertCondition", str(stated.conditionRef), document, (*path, "conditionRef"))
        return catalog.conditions[str(stated.conditionRef)][1].spec
    assert stated.spec is not None
    return stated.spec


def _targets(catalog: Catalog, document: Document, path: Path_, policy: AlertPolicySpec) -> Iterator[str]:
    for at, stated in enumerate(policy.notificationTargets):
        here: Path_ = (*path, at)
        if _referred(document, here, "AlertNotificationTarget", "targetRef", stated.targetRef, stated.spec is not None):
            catalog.check("AlertNotificationTarget", str(stated.targetRef), document, (*here, "targetRef"))
            yield str(stated.targetRef)
        else:
            assert stated.spec is not None
            yield stated.metadata.name if stated.metadata else stated.spec.target


def _referred(document: Document, path: Path_, kind: str, field: str, ref: str | None, inline: bool) -> bool:
    """Whether the entry at `path` refers to an object; if not, its spec stands in place."""
    if ref is not None and inline:
        cause = f"{kind}: it stands here or is referred to, not both"
        raise document.error((*path, field), "bad-value", cause, f"Remove {field} or spec.", on="key")
    if ref is None and not inline:
        cause = f"this entry needs {field!r}, or kind: {kind} with its spec"
        raise document.error(path, "missing-field", cause, f"Write {field}: NAME.")
    return ref is not None
