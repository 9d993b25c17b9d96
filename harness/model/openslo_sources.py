"""The registry of OpenSLO metric sources: which we know, which are built, and what their `spec` holds.

A source that is not built yet is refused where it is named: to skip it would be to judge less than what was promised.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from harness.model.openslo_schema import DataSource, MetricSource, Model
from harness.model.source import Document, Path_, parse_model

_OWN_HOSTS = ("localhost", "127.0.0.1", "::1")  # as monitoring/prometheus names what the stack itself runs


class PrometheusSpec(Model):
    query: str


@dataclass(frozen=True, slots=True)
class Source:
    """One type of metric source. spec: what its `spec` must look like; None: not built yet, and `instead` says what
    to do without it."""

    name: str
    spec: type[PrometheusSpec] | None = None
    instead: str = "Write type: Prometheus."


SOURCES: Mapping[str, Source] = {
    source.name.lower(): source
    for source in (
        Source("Prometheus", PrometheusSpec),
        Source("Loki", instead="Count the lines in a metric, and write type: Prometheus."),
        Source("Traces", instead="Count the spans in a metric, and write type: Prometheus."),
        Source("Client", instead="What the client saw is promised in the validation's thresholds."),
    )
}


def built() -> str:
    """The sources that are built, for messages."""
    return ", ".join(source.name for source in SOURCES.values() if source.spec is not None)


def check_type(document: Document, path: Path_, name: Any) -> Source | None:
    """The source called `name`, which stands at `path`; None for what is no text, which the schema refuses.

    Raises UsageError not-built-yet for every source that is not built, with the nearest that is known.
    """
    if not isinstance(name, str):
        return None
    source = SOURCES.get(name.lower())
    if source is not None and source.spec is not None:
        return source
    if source is not None:
        cause = f"metric source {source.name} is not built yet; built: {built()}"
        raise document.error(path, "not-built-yet", cause, source.instead)
    near = difflib.get_close_matches(name.lower(), SOURCES, 1, 0.6)
    remedy = f"Did you mean {SOURCES[near[0]].name!r}?" if near else "Write type: Prometheus."
    raise document.error(path, "not-built-yet", f"metric source {name!r} is not built; built: {built()}", remedy)


def read_query(document: Document, path: Path_, source: Source) -> str:
    """The query of a metric source whose `spec` stands at `path`. Raises UsageError, located, as parse_model does."""
    assert source.spec is not None
    return parse_model(document, source.spec, path).query


def source_of(
    document: Document, path: Path_, metric: MetricSource, named: Mapping[str, tuple[Document, DataSource]]
) -> Source:
    """What `metric`, at `path`, is measured by; its reference must be one of `named` already.

    Raises UsageError bad-value when type and DataSource disagree, missing-field when there is neither.
    """
    own = check_type(document, (*path, "type"), metric.type)
    if metric.metricSourceRef is None:
        if own is None:
            cause = "a metricSource needs 'type', or 'metricSourceRef' with the name of a DataSource"
            raise document.error(path, "missing-field", cause, f"Add type: {built()}.", on="key")
        return own
    _, referred = named[metric.metricSourceRef]
    inferred = SOURCES[referred.spec.type.lower()]
    if own is not None and own is not inferred:
        cause = f"type is {own.name}, and DataSource {metric.metricSourceRef!r} is a {inferred.name}"
        raise document.error((*path, "type"), "bad-value", cause, "Leave 'type' out here.")
    return inferred


def check_data_source(document: Document, source: DataSource) -> None:
    """Raises UsageError not-built-yet for a type that is not built, for connection details that nobody reads, and for
    a store that is not the stack's own: that one alone is started, watched and asked by a run."""
    check_type(document, ("spec", "type"), source.spec.type)
    for name, value in source.spec.connectionDetails.items():
        path: Path_ = ("spec", "connectionDetails", name)
        if name != "url":
            cause = f"connectionDetails.{name} is not read: the stack's own Prometheus is asked without credentials"
            raise document.error(path, "not-built-yet", cause, "Remove it.", on="key")
        if not isinstance(value, str):
            raise document.error(path, "bad-value", f"{value!r} is not a URL", "Write http://localhost:9090.")
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise document.error(path, "bad-value", f"{value!r}: {error}", "Write http://localhost:9090.") from None
        if parts.scheme not in ("http", "https") or not host:
            raise document.error(path, "bad-value", f"{value!r} is not an http URL", "Write http://localhost:9090.")
        if host not in _OWN_HOSTS:
            cause = f"{host} is not the stack's own Prometheus, and a run asks no other"
            raise document.error(path, "not-built-yet", cause, "Write http://localhost:9090, or leave it out.")
