"""Reading a validation with everything it names, before anything is started."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.gate.faults import PlannedFault, read_faults
from harness.model.openslo import load_objectives
from harness.model.openslo_objective import Objective
from harness.model.openslo_parts import check_fits
from harness.model.stackfile import StackFile, load_stackfile
from harness.model.validation import Validation, load_validations
from harness.stack.availability import needed_by


@dataclass(frozen=True, slots=True)
class Planned:
    """A validation with everything it names read and checked; nothing has started. stack: the file of its stack; needs:
    services of it without which it is not validated; faults: what is broken while it runs."""

    validation: Validation
    objectives: tuple[Objective, ...]
    stack: StackFile
    needs: frozenset[str]
    faults: tuple[PlannedFault, ...] = ()


def plan(path: Path, profile: str = "pr") -> list[Planned]:
    """Read a validation file and all it refers to. Raises UsageError, located, before anything is started."""
    planned = []
    for validation in load_validations(path, profile):
        file, _ = load_stackfile(validation.stack_path)
        objectives = _with_targets(validation, load_objectives(*validation.objective_paths))
        if objectives and not file.spec.services_of("prometheus"):
            raise validation.document.error(
                ("spec", "objectives"),
                "prometheus-missing",
                "objectives need a Prometheus, and the stack has none",
                "Add a service with `use: prometheus` to stack.yaml.",
                on="key",
            )
        check_fits(objectives, validation.load.duration, profile)
        planned.append(Planned(validation, objectives, file, _needs(validation, file), read_faults(validation, file)))
    return planned


def with_workers(planned: Planned, workers: int) -> Planned:
    """The same with so many load workers; 0: with as many as it says itself."""
    if workers:
        planned.validation.load = replace(planned.validation.load, workers=workers)
    return planned


def _with_targets(validation: Validation, objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """The objectives with the targets of the profile in place of their own. Raises UsageError, located."""
    named = {objective.id.removeprefix("objectives/"): objective for objective in objectives}
    for name, target in validation.targets.items():
        where = ("spec", "profiles", validation.profile, "targets", name)
        if name not in named:
            near = difflib.get_close_matches(name, named, 1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"The objectives are {', '.join(named) or 'none'}."
            raise validation.document.error(where, "unknown-reference", f"no objective {name!r}", remedy, on="key")
        if named[name].unit == "%" and not 0 < target < 1:
            cause = f"{target:g} is not a share between 0 and 1"
            raise validation.document.error(where, "bad-value", cause, "Write for example 0.999.")
        named[name] = replace(named[name], target=target)
    return tuple(named.values())


def _needs(validation: Validation, file: StackFile) -> frozenset[str]:
    """All services that a validation cannot do without: the target, what it names, and what these need in turn."""
    for at, name in enumerate(validation.needs or ()):
        if name not in file.spec.services:
            known = f"The stack has {', '.join(file.spec.services)}."
            where = ("spec", "needs", at)
            raise validation.document.error(where, "service-unknown", f"no service {name!r} in the stack", known)
    target = file.spec.target.partition(".")[0]
    return frozenset(needed_by(file, [target, *(validation.needs or ())], wishes=validation.needs is None))
