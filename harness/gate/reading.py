"""Reading all files that are named, and all that they name, so that every error is told and not the first alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import HarnessError, Location, UsageError, gathered
from harness.gate.faults import read_faults
from harness.gate.forecast import find_validations
from harness.gate.plan import Planned, plan
from harness.model.openslo import load_objectives
from harness.model.openslo_slo import load_service_levels
from harness.model.source import load_documents
from harness.model.stackfile import load_stackfile
from harness.model.validation import Validation
from harness.stack.runtime import check_config
from harness.stack.services.prometheus import scrape_seconds

_OPENSLO, _STACK = "openslo/v1", "Stack"


@dataclass
class Reading:
    """planned: the validations without an error; errors: of all files, each once; files: how many were read."""

    planned: list[Planned] = field(default_factory=list)
    errors: list[HarnessError] = field(default_factory=list)
    files: int = 0

    def add(self, errors: Iterable[HarnessError]) -> None:
        told = {one.render() for one in self.errors}
        for error in errors:
            for one in (error, *error.also):
                if one.render() not in told:
                    told.add(one.render())
                    self.errors.append(one)


def read_all(places: Sequence[Path], profile: str) -> Reading:
    """Validations, OpenSLO and stack files, and directories of them. Never raises for what stands in a file; raises
    UsageError file-unreadable and no-validations as find_validations does."""
    reading = Reading()
    stray = [path for path in places if path.is_file() and _kind(path) is not None]
    validations = find_validations([path for path in places if path not in stray])
    for place in places:
        if place.is_dir():
            stray += [path for path in sorted(place.rglob("*.y*ml")) if path.is_file() and _kind(path) is not None]
    reading.files = len(validations)
    for path in validations:
        _read(path, profile, reading)
    stacks = {one.validation.stack_path for one in reading.planned}
    named = {path for one in reading.planned for path in one.validation.objective_paths} | stacks
    broken = {path for path in sorted(stacks) if not _stack(path, reading)}
    reading.planned = [one for one in reading.planned if one.validation.stack_path not in broken]
    rest = [path for path in dict.fromkeys(one.resolve() for one in stray) if path not in named]
    reading.files += len(rest)
    levels = []
    for path in rest:
        if _kind(path) == _STACK:
            _stack(path, reading)
        else:
            levels.append(path)
    if levels:
        errors: list[UsageError] = []
        with gathered(errors):
            load_service_levels(levels)
        reading.add(one for one in errors if one.slug != "nothing-to-judge")  # SLIs alone are no mistake
    return reading


def scrapes_of(planned: Planned) -> dict[str, float]:
    """Seconds between scrapes by job; {} where the stack's Prometheus has no configuration of its own."""
    spec = planned.stack.spec
    for name in spec.services_of("prometheus"):
        if (config := spec.services[name].config) is not None:
            return scrape_seconds(planned.validation.root / config, spec)
    return {}


def _kind(path: Path) -> str | None:
    """openslo/v1 or Stack for a file of that kind, by a glance at its text."""
    try:
        text = path.read_bytes()
    except OSError:
        return None
    lines = {line.strip() for line in text.splitlines()}
    if b"kind: Stack" in lines:
        return _STACK
    return _OPENSLO if b"apiVersion: openslo/v1" in lines else None


def _read(path: Path, profile: str, reading: Reading) -> None:
    errors: list[UsageError] = []
    with gathered(errors):
        planned = plan(path, profile)
        for one in planned:
            with gathered(errors):
                check_syntax(one.validation.scenario)
        if not errors:
            reading.planned += planned
    if errors:
        with gathered(errors):  # what else is wrong, of what can be read by itself
            for document in load_documents(path.resolve()):
                with gathered(errors):
                    _look_further(Validation(document, profile), errors)
    reading.add(errors)


def _look_further(validation: Validation, errors: list[UsageError]) -> None:
    with gathered(errors):
        load_objectives(*validation.objective_paths)
    with gathered(errors):
        file, _ = load_stackfile(validation.stack_path)
        read_faults(validation, file)
    with gathered(errors):
        check_syntax(validation.scenario)


def _stack(path: Path, reading: Reading) -> bool:
    """Whether the stack file and the configurations that it names can be used."""
    errors: list[UsageError] = []
    with gathered(errors):
        file, document = load_stackfile(path)
        check_config(file, document, path.parent)
    reading.add(errors)
    return not errors


def check_syntax(scenario: Path) -> None:
    """Compile a scenario without running it. Raises UsageError scenario-import-failed, located."""
    try:
        compile(scenario.read_bytes(), str(scenario), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        lines = scenario.read_text(errors="replace").splitlines()
        location = Location(scenario, line, column, lines[line - 1] if line <= len(lines) else "")
        cause = f"{type(error).__name__}: {getattr(error, 'msg', error)}"
        raise UsageError("scenario-import-failed", cause, "Correct the scenario.", location=location) from None
    except OSError as error:
        raise UsageError("file-unreadable", f"{scenario}: {error.strerror}", "Check the path.") from None
