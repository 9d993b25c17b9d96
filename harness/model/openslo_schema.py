"""The shape of the OpenSLO v1 documents that we read, field for field as the specification names them.

Source: OpenSLO v1, README of github.com/OpenSLO/OpenSLO ("General Schema", "SLO", "SLI").
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("write a finite number")
    return value


Number = Annotated[float, BeforeValidator(_number), AfterValidator(_finite)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Model):
    name: Name
    displayName: str = ""
    labels: dict[str, str | list[str]] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class PrometheusSpec(_Model):
    query: str


class MetricSource(_Model):
    type: Literal["Prometheus", "prometheus"]
    spec: PrometheusSpec


class Metric(_Model):
    metricSource: MetricSource


class RatioMetric(_Model):
    counter: Annotated[bool, Field(strict=True)]
    good: Metric | None = None
    bad: Metric | None = None
    total: Metric


class IndicatorSpec(_Model):
    description: Annotated[str, Field(max_length=1050)] = ""
    thresholdMetric: Metric | None = None
    ratioMetric: RatioMetric | None = None


class InlineIndicator(_Model):
    metadata: Metadata | None = None
    spec: IndicatorSpec


class TimeWindow(_Model):
    """Rolling only. `M` is months: the specification has no seconds."""

    duration: Annotated[str, Field(pattern=r"^[1-9][0-9]*[mhdwMQY]$")]
    isRolling: Annotated[bool, Field(strict=True)]


class SloObjective(_Model):
    displayName: str = ""
    op: Literal["lt", "lte", "gt", "gte"] | None = None
    value: Number | None = None
    target: Annotated[Number, Field(gt=0, lt=1)] | None = None
    targetPercent: Annotated[Number, Field(gt=0, lt=100)] | None = None


class SloSpec(_Model):
    description: Annotated[str, Field(max_length=1050)] = ""
    service: str
    indicator: InlineIndicator | None = None
    indicatorRef: str | None = None
    timeWindow: Annotated[list[TimeWindow], Field(min_length=1, max_length=1)] | None = None
    budgetingMethod: Literal["Occurrences"]
    objectives: Annotated[list[SloObjective], Field(min_length=1)]


class Slo(_Model):
    apiVersion: Literal["openslo/v1"]
    kind: Literal["SLO"]
    metadata: Metadata
    spec: SloSpec


class Sli(_Model):
    apiVersion: Literal["openslo/v1"]
    kind: Literal["SLI"]
    metadata: Metadata
    spec: IndicatorSpec
