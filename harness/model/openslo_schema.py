"""The shape of the OpenSLO v1 documents, field for field as the specification names them: what all kinds share, SLI,
DataSource and Service.

Source: OpenSLO v1, README of github.com/OpenSLO/OpenSLO ("General Schema" and one section for each kind).
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

# RFC 1123 names, and what the specification encourages beside them; capitals because its own examples have them.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.|/\\-]{0,253}[A-Za-z0-9])?")
_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name; write up to 255 letters, digits and dashes, for example app-latency")
    return text


def _label_key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise ValueError(f"{text!r} is not a key; write up to 63 letters, digits, dashes, underscores and dots")
    return text


def _annotation_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if slash and not _PREFIX.fullmatch(prefix):
        raise ValueError(f"{prefix!r} is not a DNS subdomain, as the part of an annotation's key before '/' must be")
    _label_key(name)
    return text


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("write a finite number")
    return value


Name = Annotated[str, AfterValidator(_name)]
LabelKey = Annotated[str, AfterValidator(_label_key)]
AnnotationKey = Annotated[str, AfterValidator(_annotation_key)]
Number = Annotated[float, BeforeValidator(_number), AfterValidator(_finite)]
Flag = Annotated[bool, Field(strict=True)]
Description = Annotated[str, Field(max_length=1050)]
ApiVersion = Literal["openslo/v1"]


class Model(BaseModel):
    """Every part of a document: a field that the specification does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(Model):
    name: Name
    displayName: str = ""
    labels: dict[LabelKey, str | list[str]] = Field(default_factory=dict)
    annotations: dict[AnnotationKey, str] = Field(default_factory=dict)


class MetricSource(Model):
    """Where a query goes: a DataSource by name, or a type; what `spec` holds is the type's own affair."""

    metricSourceRef: str | None = None
    type: str | None = None
    spec: dict[str, Any]


class Metric(Model):
    metricSource: MetricSource


class RatioMetric(Model):
    counter: Flag | None = None
    good: Metric | None = None
    bad: Metric | None = None
    total: Metric | None = None
    rawType: Literal["success", "failure"] | None = None
    raw: Metric | None = None


class IndicatorSpec(Model):
    description: Description = ""
    thresholdMetric: Metric | None = None
    ratioMetric: RatioMetric | None = None


class InlineIndicator(Model):
    metadata: Metadata | None = None
    spec: IndicatorSpec


class Sli(Model):
    apiVersion: ApiVersion
    kind: Literal["SLI"]
    metadata: Metadata
    spec: IndicatorSpec


class DataSourceSpec(Model):
    description: Description = ""
    type: str
    connectionDetails: dict[str, Any] = Field(default_factory=dict)


class DataSource(Model):
    apiVersion: ApiVersion
    kind: Literal["DataSource"]
    metadata: Metadata
    spec: DataSourceSpec


class ServiceSpec(Model):
    description: Description = ""


class Service(Model):
    apiVersion: ApiVersion
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()
