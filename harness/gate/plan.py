"""Reading a validation with everything it names, before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.model.openslo import load_objectives
from harness.model.openslo_objective import Objective
from harness.model.stackfile import StackFile, load_stackfile
from harness.model.validation import Validation, load_validations
from harness.stack.availability import needed_by


@dataclass(frozen=True, slots=True)
class Planned:
    """A validation with everything it names read and checked; nothing has started. stack: the file of its stack; needs:
    services of it without which it is not validated."""

    validation: Validation
    objectives: tuple[Objective, ...]
    stack: StackFile
    needs: frozenset[str]


def plan(path: Path, profile: str = "pr") -> list[Planned]:
    """Read a validation file and all it refers to. Raises UsageError, located, before anything is started."""
    planned = []
    for validation in load_validations(path, profile):
        file, _ = load_stackfile(validation.stack_path)
        objectives = tuple(load_objectives(*validation.objective_paths))
        if objectives and not file.spec.services_of("prometheus"):
            raise validation.document.error(
                ("spec", "objectives"),
                "prometheus-missing",
                "objectives need a Prometheus, and the stack has none",
                "Add a service with `use: prometheus` to stack.yaml.",
                on="key",
            )
        planned.append(Planned(validation, objectives, file, _needs(validation, file)))
    return planned


def _needs(validation: Validation, file: StackFile) -> frozenset[str]:
    """All services that a validation cannot do without: the target, what it names, and what these need in turn."""
    for at, name in enumerate(validation.needs or ()):
        if name not in file.spec.services:
            known = f"The stack has {', '.join(file.spec.services)}."
            where = ("spec", "needs", at)
            raise validation.document.error(where, "service-unknown", f"no service {name!r} in the stack", known)
    target = file.spec.target.partition(".")[0]
    return frozenset(needed_by(file, [target, *(validation.needs or ())], wishes=validation.needs is None))
