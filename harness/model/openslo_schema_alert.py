"""The shape of OpenSLO v1's three kinds about alerts.

Source: OpenSLO v1, README of github.com/OpenSLO/OpenSLO ("AlertPolicy", "AlertCondition", "AlertNotificationTarget").
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.model.openslo_duration import Shorthand, ShorthandOrZero
from harness.model.openslo_schema import ApiVersion, Description, Flag, Metadata, Model, Number


class BurnRateCondition(Model):
    kind: Literal["burnrate"] = "burnrate"
    op: Literal["lt", "lte", "gt", "gte"]
    threshold: Annotated[Number, Field(ge=0)]
    lookbackWindow: Shorthand
    alertAfter: ShorthandOrZero = "0m"


class AlertConditionSpec(Model):
    description: Description = ""
    severity: Annotated[str, Field(min_length=1)]
    condition: BurnRateCondition


class AlertCondition(Model):
    apiVersion: ApiVersion
    kind: Literal["AlertCondition"]
    metadata: Metadata
    spec: AlertConditionSpec


class NotificationTargetSpec(Model):
    description: Description = ""
    target: Annotated[str, Field(min_length=1)]


class AlertNotificationTarget(Model):
    apiVersion: ApiVersion
    kind: Literal["AlertNotificationTarget"]
    metadata: Metadata
    spec: NotificationTargetSpec


class PolicyCondition(Model):
    """A reference, or an AlertCondition in place; which one is checked in harness.model.openslo_alerts."""

    conditionRef: str | None = None
    apiVersion: ApiVersion | None = None
    kind: Literal["AlertCondition"] | None = None
    metadata: Metadata | None = None
    spec: AlertConditionSpec | None = None


class PolicyTarget(Model):
    """A reference, or an AlertNotificationTarget in place."""

    targetRef: str | None = None
    apiVersion: ApiVersion | None = None
    kind: Literal["AlertNotificationTarget"] | None = None
    metadata: Metadata | None = None
    spec: NotificationTargetSpec | None = None


class AlertPolicySpec(Model):
    description: Description = ""
    alertWhenBreaching: Flag = False
    alertWhenResolved: Flag = False
    alertWhenNoData: Flag = False
    conditions: Annotated[list[PolicyCondition], Field(min_length=1, max_length=1)]
    notificationTargets: Annotated[list[PolicyTarget], Field(min_length=1)]


class AlertPolicy(Model):
    apiVersion: ApiVersion
    kind: Literal["AlertPolicy"]
    metadata: Metadata
    spec: AlertPolicySpec
