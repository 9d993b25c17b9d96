"""All OpenSLO v1 objects of some files, by kind and name, so that references find their way across files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.model.openslo_schema import DataSource, Model, Service, Sli
from harness.model.openslo_schema_alert import AlertCondition, AlertNotificationTarget, AlertPolicy
from harness.model.openslo_schema_slo import Slo
from harness.model.openslo_sources import check_data_source, check_type
from harness.model.source import Document, Path_, load_documents, parse_model

KINDS: Mapping[str, type[Model]] = {
    "DataSource": DataSource,
    "SLO": Slo,
    "SLI": Sli,
    "AlertPolicy": AlertPolicy,
    "AlertCondition": AlertCondition,
    "AlertNotificationTarget": AlertNotificationTarget,
    "Service": Service,
}


@dataclass(slots=True)
class Catalog:
    """Objects as they were read, each with its document: {name: (document, object)}, in the order of the files."""

    files: Sequence[Path]
    documents: list[Document] = field(default_factory=list)
    slos: dict[str, tuple[Document, Slo]] = field(default_factory=dict)
    slis: dict[str, tuple[Document, Sli]] = field(default_factory=dict)
    sources: dict[str, tuple[Document, DataSource]] = field(default_factory=dict)
    services: dict[str, tuple[Document, Service]] = field(default_factory=dict)
    policies: dict[str, tuple[Document, AlertPolicy]] = field(default_factory=dict)
    conditions: dict[str, tuple[Document, AlertCondition]] = field(default_factory=dict)
    targets: dict[str, tuple[Document, AlertNotificationTarget]] = field(default_factory=dict)

    def of(self, kind: str) -> dict[str, tuple[Document, Any]]:
        """The objects of a kind."""
        kinds: dict[str, Any] = {
            "DataSource": self.sources,
            "SLO": self.slos,
            "SLI": self.slis,
            "AlertPolicy": self.policies,
            "AlertCondition": self.conditions,
            "AlertNotificationTarget": self.targets,
            "Service": self.services,
        }
        found: dict[str, tuple[Document, Any]] = kinds[kind]
        return found

    def check(self, kind: str, name: str, document: Document, path: Path_) -> None:
        """Raises UsageError unknown-reference, at `path`, when there is no such object: with the nearest name."""
        known = self.of(kind)
        if name in known:
            return
        near = difflib.get_close_matches(name, known, 1, 0.5)
        where = "this file" if len(self.files) == 1 else f"these {len(self.files)} files"
        if near:
            remedy = f"Did you mean {near[0]!r}?"
        elif known:
            remedy = f"{kind} objects here: {', '.join(known)}."
        else:
            remedy = f"There is no document of kind {kind} in {where}."
        raise document.error(path, "unknown-reference", f"no {kind} named {name!r}", remedy)


def read_catalog(paths: Sequence[Path]) -> Catalog:
    """The objects of `paths`, each checked for itself; references between them are not.

    Raises UsageError, located: what load_documents and parse_model raise, and not-built-yet, duplicate-name.
    """
    catalog = Catalog(paths)
    for path in paths:
        for document in load_documents(path):
            catalog.documents.append(document)
            kind = _kind(document)
            if kind in ("SLO", "SLI"):
                _refuse_sources(document)  # before the schema: a source that we lack says more than a missing field
            parsed: Any = parse_model(document, KINDS[kind])
            if kind == "DataSource":
                check_data_source(document, parsed)
            objects = catalog.of(kind)
            if (other := objects.get(parsed.metadata.name)) is not None:
                cause = (
                    f"two objects of kind {kind} are named {parsed.metadata.name!r}; "
                    f"the other stands at {other[0].locate(('metadata', 'name'))}"
                )
                remedy = "Give each object of a kind its own metadata.name."
                raise document.error(("metadata", "name"), "duplicate-name", cause, remedy)
            objects[parsed.metadata.name] = (document, parsed)
    return catalog


def _kind(document: Document) -> str:
    data = document.data
    if not isinstance(data, dict):
        cause = f"an OpenSLO document is a mapping, this is a {type(data).__name__}"
        raise document.error((), "bad-value", cause, "Begin it with apiVersion: openslo/v1 and kind: SLO.")
    version = data.get("apiVersion")
    if isinstance(version, str) and version.startswith(("openslo", "n9/")) and version != "openslo/v1":
        cause = f"OpenSLO version {version!r} is not read in this version"
        raise document.error(("apiVersion",), "not-built-yet", cause, "Write apiVersion: openslo/v1.")
    if version is not None and version != "openslo/v1":
        cause = f"apiVersion {version!r} is not OpenSLO's"
        raise document.error(("apiVersion",), "bad-value", cause, "Write apiVersion: openslo/v1.")
    if "kind" not in data:
        raise document.error((), "missing-field", "'kind' is required", f"Add one of {', '.join(KINDS)}.")
    kind = data["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        folded = {name.lower(): name for name in KINDS}
        near = difflib.get_close_matches(str(kind).lower(), folded, 1, 0.5)
        remedy = f"Did you mean {folded[near[0]]!r}?" if near else f"The kinds are {', '.join(KINDS)}."
        raise document.error(("kind",), "bad-value", f"{kind!r} is no kind of OpenSLO v1", remedy)
    return kind


def _refuse_sources(document: Document) -> None:
    """Raises UsageError not-built-yet for the first metricSource whose type is not built."""
    spec = document.data.get("spec")
    if document.data["kind"] == "SLI":
        _refuse_in(document, ("spec",), spec)
        return
    _refuse_in(document, ("spec", "indicator", "spec"), _part(spec, "indicator", "spec"))
    objectives = _part(spec, "objectives")
    for at, objective in enumerate(objectives if isinstance(objectives, list) else ()):
        path: Path_ = ("spec", "objectives", at, "indicator", "spec")
        _refuse_in(document, path, _part(objective, "indicator", "spec"))


def _refuse_in(document: Document, path: Path_, spec: Any) -> None:
    for step in (("thresholdMetric",), *(("ratioMetric", role) for role in ("good", "bad", "total", "raw"))):
        at = (*step, "metricSource", "type")
        if (name := _part(spec, *at)) is not None:
            check_type(document, (*path, *at), name)


def _part(data: Any, *path: str) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data
