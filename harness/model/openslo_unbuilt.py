"""Parts of OpenSLO v1 that we know and do not read yet. They are refused where they stand: to skip one would be to
judge something else than what the author wrote."""

from __future__ import annotations

from typing import Any

from harness.core.errors import UsageError
from harness.model.source import Document, Path_

KINDS = ("DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "Service")


def refuse_unbuilt(document: Document) -> None:
    """Raises UsageError not-built-yet for the first such part of `document`; other mistakes are left to the schema."""
    data = document.data
    if not isinstance(data, dict):
        return
    version, kind = data.get("apiVersion"), data.get("kind")
    if isinstance(version, str) and version.startswith(("openslo", "n9/")) and version != "openslo/v1":
        raise _unbuilt(
            document, ("apiVersion",), f"OpenSLO version {version!r}", "Write apiVersion: openslo/v1.", "value"
        )
    if kind in KINDS:
        raise _unbuilt(
            document, ("kind",), f"kind {kind}", "Keep this document in a file that no validation names.", "value"
        )
    spec = _mapping(data.get("spec"))
    if kind == "SLI":
        _refuse_in_indicator(document, ("spec",), spec)
        return
    if spec.get("budgetingMethod") in ("Timeslices", "RatioTimeslices"):
        raise _unbuilt(
            document,
            ("spec", "budgetingMethod"),
            f"budgetingMethod {spec['budgetingMethod']}",
            "Write budgetingMethod: Occurrences.",
        )
    if "alertPolicies" in spec:
        raise _unbuilt(document, ("spec", "alertPolicies"), "alertPolicies", "Remove the section.")
    for at, window in enumerate(_sequence(spec.get("timeWindow"))):
        if "calendar" in _mapping(window):
            raise _unbuilt(
                document,
                ("spec", "timeWindow", at, "calendar"),
                "a calendar-aligned time window",
                "Write a rolling one: duration and isRolling: true.",
            )
        if _mapping(window).get("isRolling") is False:
            raise _unbuilt(
                document,
                ("spec", "timeWindow", at, "isRolling"),
                "a window that does not roll",
                "Write isRolling: true.",
            )
    for at, objective in enumerate(_sequence(spec.get("objectives"))):
        for field in ("timeSliceTarget", "timeSliceWindow", "compositeWeight", "indicator", "indicatorRef"):
            if field in _mapping(objective):
                raise _unbuilt(document, ("spec", "objectives", at, field), field, "Remove the field.")
    _refuse_in_indicator(document, ("spec", "indicator", "spec"), _mapping(_mapping(spec.get("indicator")).get("spec")))


def _refuse_in_indicator(document: Document, path: Path_, spec: dict[Any, Any]) -> None:
    ratio = _mapping(spec.get("ratioMetric"))
    for field in ("raw", "rawType"):
        if field in ratio:
            raise _unbuilt(
                document,
                (*path, "ratioMetric", field),
                "a precomputed ratio (raw)",
                "Write good and total, or bad and total; or judge the ratio itself as a thresholdMetric.",
            )
    metrics = [((*path, "thresholdMetric"), spec.get("thresholdMetric"))]
    metrics += [((*path, "ratioMetric", role), ratio.get(role)) for role in ("good", "bad", "total")]
    for at, metric in metrics:
        source = _mapping(_mapping(metric).get("metricSource"))
        if "metricSourceRef" in source:
            raise _unbuilt(
                document,
                (*at, "metricSource", "metricSourceRef"),
                "a reference to a DataSource",
                "Remove it and write type: Prometheus; the run's own Prometheus is asked.",
            )
        kind = source.get("type", "Prometheus")
        if kind not in ("Prometheus", "prometheus"):
            raise _unbuilt(
                document, (*at, "metricSource", "type"), f"metric source {kind}", "Write type: Prometheus.", "value"
            )


def _unbuilt(document: Document, path: Path_, what: str, remedy: str, on: str = "key") -> UsageError:
    cause = f"{what} is not read in this version"
    return document.error(path, "not-built-yet", cause, remedy, on="key" if on == "key" else "value")


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
