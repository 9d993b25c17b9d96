"""The shape of an OpenSLO v1 SLO: its time window, its objectives, its alert policies.

Source: OpenSLO v1, README of github.com/OpenSLO/OpenSLO ("SLO", "Objectives"); `indicator` and `compositeWeight` of an
objective stand in the Go types that the project publishes beside it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from harness.model.openslo_duration import Shorthand
from harness.model.openslo_schema import ApiVersion, Description, Flag, InlineIndicator, Metadata, Model, Number
from harness.model.openslo_schema_alert import AlertPolicySpec


def _start_time(value: Any) -> datetime:
    wanted = "write a date and a time without a zone, for example 2026-01-01 00:00:00"
    if isinstance(value, str):
        try:
            value = datetime.strptime(value, "%Y-%m-%d %H:%M:%S")
        except ValueError:
            raise ValueError(f"{value!r} is not a start time; {wanted}") from None
    if not isinstance(value, datetime):
        raise ValueError(f"{value!s} is not a start time; {wanted}")
    if value.tzinfo is not None:
        raise ValueError(f"{value!s} has a zone of its own; {wanted}, and the zone in timeZone")
    if not 1970 <= value.year <= 2100:
        raise ValueError(f"{value!s} is not between 1970 and 2100")
    return value


def _slice_window(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < 1 or not float(value).is_integer():
            raise ValueError(f"{value!r} is not a number of minutes; write for example 5, or 5m")
        return f"{int(value)}m"  # "default interpretation of unit if specified as a number in minutes"
    return value


class Calendar(Model):
    startTime: Annotated[datetime, BeforeValidator(_start_time)]
    timeZone: str


class TimeWindow(Model):
    """Rolling, or aligned with a calendar; which one is checked in harness.model.openslo_window."""

    duration: Shorthand
    calendar: Calendar | None = None
    isRolling: Flag | None = None


class SloObjective(Model):
    displayName: str = ""
    op: Literal["lt", "lte", "gt", "gte"] | None = None
    value: Number | None = None
    target: Annotated[Number, Field(gt=0, lt=1)] | None = None  # the specification has 0 too, which nothing can miss
    targetPercent: Annotated[Number, Field(gt=0, lt=100)] | None = None
    timeSliceTarget: Annotated[Number, Field(gt=0, le=1)] | None = None
    timeSliceWindow: Annotated[Shorthand, BeforeValidator(_slice_window)] | None = None
    indicator: InlineIndicator | None = None
    indicatorRef: str | None = None
    compositeWeight: Annotated[Number, Field(gt=0)] | None = None


class SloAlertPolicy(Model):
    """A reference, or an AlertPolicy in place; which one is checked in harness.model.openslo_alerts."""

    alertPolicyRef: str | None = None
    apiVersion: ApiVersion | None = None
    kind: Literal["AlertPolicy"] | None = None
    metadata: Metadata | None = None
    spec: AlertPolicySpec | None = None


class SloSpec(Model):
    description: Description = ""
    service: str
    indicator: InlineIndicator | None = None
    indicatorRef: str | None = None
    timeWindow: Annotated[list[TimeWindow], Field(min_length=1, max_length=1)] | None = None
    budgetingMethod: Literal["Occurrences", "Timeslices", "RatioTimeslices"]
    objectives: Annotated[list[SloObjective], Field(min_length=1)]
    alertPolicies: list[SloAlertPolicy] = Field(default_factory=list)


class Slo(Model):
    apiVersion: ApiVersion
    kind: Literal["SLO"]
    metadata: Metadata
    spec: SloSpec
