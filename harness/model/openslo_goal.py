"""The objectives of an SLO, resolved: a target, what is compared with it, and the slices that it speaks of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.core.errors import Location
from harness.model.openslo_catalog import Catalog
from harness.model.openslo_duration import shorthand_seconds
from harness.model.openslo_indicator import Indicator, indicator_at
from harness.model.openslo_schema_slo import Slo, SloObjective
from harness.model.source import Document, Path_

_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective of an SLO.

    name: its displayName, or its place from 0; target: a share between 0 and 1; operator, value: of a thresholdMetric;
    slice_target, slice_s: of time slices; indicator: its own, in a composite SLO; weight: of it there.
    """

    name: str
    target: float
    operator: str | None
    value: float | None
    slice_target: float | None
    slice_s: int | None
    indicator: Indicator
    weight: float | None
    path: Path_
    location: Location


def read_goals(
    catalog: Catalog, document: Document, slo: Slo, own: Indicator | None, indicators: Mapping[str, Indicator]
) -> tuple[Goal, ...]:
    """The objectives of `slo`; own: the SLO's indicator, None in a composite SLO.

    Raises UsageError, located: missing-field, bad-value, duplicate-name, and what indicator_at raises.
    """
    goals = tuple(_goals(catalog, document, slo, own, indicators))
    _check_names(document, goals)
    return goals


def _check_names(document: Document, goals: Sequence[Goal]) -> None:
    seen: dict[str, Goal] = {}
    for goal in goals:
        if (other := seen.setdefault(goal.name, goal)) is not goal:
            cause = f"two objectives are named {goal.name!r}; the other stands at {other.location}"
            remedy = "Give each objective its own displayName."
            raise document.error(goal.path, "duplicate-name", cause, remedy)


def _goals(
    catalog: Catalog, document: Document, slo: Slo, own: Indicator | None, indicators: Mapping[str, Indicator]
) -> Iterator[Goal]:
    for at, stated in enumerate(slo.spec.objectives):
        path: Path_ = ("spec", "objectives", at)
        indicator = own or indicator_at(catalog, document, path, stated.indicator, stated.indicatorRef, indicators)
        if indicator is None:
            cause = "in a composite SLO each objective has an indicator"
            raise document.error(path, "missing-field", cause, "Add 'indicator' or 'indicatorRef'.")
        if own is not None and stated.compositeWeight is not None:
            cause = "compositeWeight belongs to an objective with an indicator of its own"
            raise document.error((*path, "compositeWeight"), "bad-value", cause, "Remove it.", on="key")
        target = _target(document, path, stated)
        _check_operator(document, path, stated, indicator)
        _check_slices(document, path, stated, slo.spec.budgetingMethod)
        yield Goal(
            name=stated.displayName or str(at),
            target=target,
            operator=_OPERATORS[stated.op] if stated.op else None,
            value=stated.value,
            slice_target=stated.timeSliceTarget,
            slice_s=shorthand_seconds(stated.timeSliceWindow) if stated.timeSliceWindow else None,
            indicator=indicator,
            weight=stated.compositeWeight,
            path=path,
            location=document.locate(path),
        )


def _target(document: Document, path: Path_, stated: SloObjective) -> float:
    if stated.target is not None and stated.targetPercent is not None:
        cause = "target and targetPercent say the same thing twice"
        raise document.error((*path, "targetPercent"), "bad-value", cause, "Keep one of them.", on="key")
    if stated.target is None and stated.targetPercent is None:
        remedy = "Add for example target: 0.99."
        raise document.error(path, "missing-field", "an objective needs 'target' or 'targetPercent'", remedy)
    return stated.target if stated.target is not None else round((stated.targetPercent or 0) / 100, 12)


def _check_operator(document: Document, path: Path_, stated: SloObjective, indicator: Indicator) -> None:
    for name in ("op", "value"):
        given = getattr(stated, name) is not None
        if indicator.kind != "threshold" and given:
            raise document.error(
                (*path, name), "bad-value", f"{name!r} belongs to a thresholdMetric", "Remove it here.", on="key"
            )
        if indicator.kind == "threshold" and not given:
            remedy = "Write for example op: lt and value: 0.25."
            raise document.error(path, "missing-field", f"a thresholdMetric needs {name!r}", remedy)


def _check_slices(document: Document, path: Path_, stated: SloObjective, method: str) -> None:
    for name, methods in (
        ("timeSliceTarget", ("Timeslices",)),
        ("timeSliceWindow", ("Timeslices", "RatioTimeslices")),
    ):
        given = getattr(stated, name) is not None
        if given and method not in methods:
            cause = f"{name!r} belongs to budgetingMethod {' or '.join(methods)}, and this is {method}"
            raise document.error((*path, name), "bad-value", cause, "Remove it here.", on="key")
        if not given and method in methods:
            remedy = "Add for example timeSliceWindow: 1m." if "Window" in name else "Add for example 0.95."
            raise document.error(path, "missing-field", f"{method} needs {name!r} in each objective", remedy)
