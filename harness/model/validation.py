"""A validation: scenario, load, thresholds and objectives in one YAML file, resolved before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.core.errors import UsageError, first_of, gathered
from harness.model.fault_entry import FaultEntry
from harness.model.load_spec import Load, LoadOverride, Misfit, Replay, Written
from harness.model.source import Document, Path_, load_documents, parse_model
from harness.model.threshold import GrammarError, Threshold, parse_selector, parse_threshold

Placed = dict[str, tuple[Path_, list[str]]]  # selector -> where its list stands, the list
API_VERSION = "harness/v1"
TIMES = ("latency", "service_time")  # client metrics that are times
PROFILES = ("pr", "nightly", "release")
NOT_BUILT = {
    "silent": "alerts are not judged in this version",
    "alerts": "alerts are not judged in this version",
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Override(LoadOverride):
    """What a profile changes: keys of `load`, the conditions on a selector, the target of an objective by
    `slo/objective`. A longer run can decide more than a short one."""

    thresholds: dict[str, list[str]] = Field(default_factory=dict)
    targets: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)


class Spec(_Model):
    stack: str | None = None
    scenario: str
    load: Written
    thresholds: dict[str, list[str]] = Field(default_factory=dict)
    objectives: list[str] = Field(default_factory=list)
    needs: list[str] | None = None
    profiles: dict[Literal["pr", "nightly", "release"], Override] = Field(default_factory=dict)
    faults: list[FaultEntry] = Field(default_factory=list)
    silent: Any = None
    alerts: Any = None


class Metadata(_Model):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    description: str = ""


class File(_Model):
    """The whole document, as it is written."""

    apiVersion: Literal["harness/v1"]
    kind: Literal["Validation"]
    metadata: Metadata
    spec: Spec


class Validation:
    """A validation as resolved for one profile: paths exist, thresholds are parsed.

    path: the file; root: the directory that holds stack.yaml, from which scenarios are named; needs: the services
    without which it cannot be judged, beside the target's own needs; None: all that the target works with; faults: as
    asked for, not looked at yet.
    """

    def __init__(self, document: Document, profile: str = "pr") -> None:
        parsed = parse_model(document, File)
        self.document = document
        self.path = document.path
        self.name = parsed.metadata.name
        self.description = parsed.metadata.description
        self.profile = profile
        spec = parsed.spec
        for field, why in NOT_BUILT.items():
            if field in document.data["spec"]:
                raise document.error(
                    ("spec", field), "not-built-yet", f"spec.{field}: {why}", "Remove the section.", on="key"
                )
        override = spec.profiles.get(profile)  # type: ignore[call-overload]
        self.targets = override.targets if override else {}
        self.stack_path = self._find_stack(spec.stack)
        self.root = self.stack_path.parent
        for other_name, other in spec.profiles.items():
            self._refuse_misplaced(spec.load, other, other_name)
        self.load = self._load(spec.load, override.load_changes() if override else {})
        wrong: list[UsageError] = []
        with gathered(wrong):
            self.scenario = self._find(("spec", "scenario"), spec.scenario)
        self.needs = spec.needs
        self.faults = tuple(one.request(("spec", "faults", at)) for at, one in enumerate(spec.faults))
        self.objective_paths: list[Path] = []
        for at, name in enumerate(spec.objectives):
            with gathered(wrong):
                self.objective_paths.append(self._find(("spec", "objectives", at), name))
        own = _placed(("spec", "thresholds"), spec.thresholds)
        for name, other in spec.profiles.items():
            theirs = _placed(("spec", "profiles", name, "thresholds"), other.thresholds)
            if name == profile:
                own |= theirs
            else:
                self._read(theirs, wrong, fits=False)
        self.thresholds = self._read(own, wrong, fits=True)
        if wrong:
            raise first_of(wrong)
        if not self.thresholds and not self.objective_paths:
            raise document.error(
                ("spec",),
                "nothing-to-judge",
                "neither thresholds nor objectives: such a run could not fail",
                "Add spec.thresholds, for example latency{name:search}: ['p(99)<80ms'].",
                on="key",
            )

    def _refuse_misplaced(self, written: Written, override: LoadOverride, profile: str) -> None:
        takes = type(written).model_fields
        for key in override.load_changes():
            if key not in takes:
                known = ", ".join(name for name in LoadOverride.model_fields if name in takes)
                cause = f"the executor {written.executor} takes no {key!r}"
                where = ("spec", "profiles", profile, key)
                raise self.document.error(where, "unknown-field", cause, f"Known here: {known}.", on="key")

    def _load(self, written: Written, changed: dict[str, Any]) -> Load:
        if isinstance(written, Replay):
            changed = {**changed, "file": str(self._find(("spec", "load", "file"), written.file))}
        try:
            return written.model_copy(update=changed).resolved()
        except Misfit as misfit:
            own = misfit.key[0] not in changed or misfit.key[0] == "file"
            where: Path_ = ("spec", "load", *misfit.key) if own else ("spec", "profiles", self.profile, *misfit.key)
            cause = f"{'.'.join(map(str, where))}: {misfit.cause}"
            raise self.document.error(where, "bad-value", cause, "Correct the value at the caret.") from None

    def _find_stack(self, named: str | None) -> Path:
        if named is not None:
            return self._find(("spec", "stack"), named)
        for directory in (self.path.parent, *self.path.parent.parents):
            if (directory / "stack.yaml").is_file():
                return directory / "stack.yaml"
        raise self.document.error(
            ("spec",),
            "stack-missing",
            f"no stack.yaml in {self.path.parent} or above it",
            "Write one beside your project's pyproject.toml, or name it in spec.stack.",
            on="key",
        )

    def _find(self, at: tuple[str | int, ...], name: str) -> Path:
        bases = [self.path.parent, *([self.root] if hasattr(self, "root") else [])]
        for base in bases:
            if os.path.isfile(base / name):  # noqa: PTH113 - false, not an error, for a name no file can have
                return (base / name).resolve()
        looked = " or ".join(str(base) for base in dict.fromkeys(bases))
        raise self.document.error(at, "file-missing", f"no file {name!r} in {looked}", "Correct the path.")

    def _read(self, placed: Placed, wrong: list[UsageError], *, fits: bool) -> list[Threshold]:
        """The thresholds; fits: they are of the profile that runs, so windows must fit into its steady phase."""
        found: list[Threshold] = []
        for selector, (where, texts) in placed.items():
            for at, text in enumerate(texts):
                with gathered(wrong):
                    found.append(self._threshold((*where, selector), selector, at, text, fits=fits))
        return found

    def _threshold(self, key: Path_, selector: str, at: int, condition: str, *, fits: bool) -> Threshold:
        try:
            parse_selector(selector)
        except GrammarError as error:
            raise _grammar(self.document, key, error, on_key=True) from None
        try:
            threshold = parse_threshold(selector, condition)
        except GrammarError as error:
            raise _grammar(self.document, (*key, at), error, on_key=False) from None
        if threshold.metric in TIMES and threshold.aggregation not in ("count", "rate") and threshold.unit != "s":
            raise self.document.error(
                (*key, at), "threshold-unit", f"{condition!r}: {threshold.metric} is a time", "Add a unit, as in 80ms."
            )
        steady = self.load.duration / 1e9
        if fits and threshold.window_seconds is not None and threshold.window_seconds > steady:
            cause = f"a window of {threshold.window_seconds} s is longer than the steady phase of {steady:g} s"
            raise self.document.error((*key, at), "window-too-long", cause, "Shorten it, or lengthen load.duration.")
        return threshold

    def as_dict(self) -> dict[str, Any]:
        """What plan.json says of it: resolved values only, paths relative to the root."""
        return {
            "name": self.name,
            "profile": self.profile,
            "scenario": _relative(self.scenario, self.root),
            "load": {**self.load.as_dict(), "file": self.load.file and _relative(Path(self.load.file), self.root)},
            "thresholds": [[t.selector_text, t.condition_text] for t in self.thresholds],
            "objectives": [_relative(path, self.root) for path in self.objective_paths],
        }


def _placed(where: Path_, thresholds: Mapping[str, list[str]]) -> Placed:
    return {selector: (where, texts) for selector, texts in thresholds.items()}


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


def _grammar(document: Document, path: tuple[str | int, ...], error: GrammarError, *, on_key: bool) -> Exception:
    usage = document.error(
        path, "threshold-syntax", str(error), "See docs/thresholds.md for the grammar.", on="key" if on_key else "value"
    )
    where = usage.location
    if where is not None and "\n" not in where.text:
        quoted = where.text[where.column - 1 : where.column] in ("'", '"')
        column = where.column + error.position + quoted
        if column > len(where.text) + 1:  # the text goes on in another line, or is written with escapes
            return usage
        width = max(1, where.width - error.position - 2 * quoted)
        usage.location = type(where)(where.path, where.line, column, where.text, width)
    return usage


def load_validations(path: Path, profile: str = "pr") -> list[Validation]:
    """All validations of a file. Raises UsageError, located."""
    return [Validation(document, profile) for document in load_documents(path.resolve())]
