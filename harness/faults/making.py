"""A fault from its name and what was written: for command line, fixture and YAML. Says what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.faults.fault import Fault
from harness.faults.parameters import Parameters
from harness.faults.registry import fault_called
from harness.model.events import Event
from harness.model.stackfile import StackFile
from harness.stack.availability import Unavailable
from harness.stack.handle import Stack

_UNKNOWN = {"link": "link-unknown", "service": "service-unknown"}  # by the field that says what is broken


def make(stack: Stack, name: str, values: Mapping[str, Any], emit: Callable[[Event], None] | None = None) -> Fault:
    """A fault on a running stack, not begun. Raises UsageError fault-unknown, fault-parameter, link-unknown,
    service-unknown; HarnessError fault-unavailable (not-validated) where this machine cannot have it."""
    made = fault_called(name)
    parameters = read(made, values)
    if (wrong := wrong_target(made, stack.file, parameters)) is not None:
        raise wrong
    refuse_impossible(made, stack.file, parameters, stack.unavailable)
    return made.on(stack, parameters, emit)


def read(made: type[Fault], values: Mapping[str, Any]) -> Parameters:
    """Checked parameters. Raises UsageError fault-parameter, which names the field."""
    try:
        parameters = made.takes.model_validate(dict(values))
    except ValidationError as error:
        told = "; ".join(_said(made, values, problem) for problem in error.errors(include_url=False))
        raise UsageError(
            "fault-parameter", f"{made.name}: {told}", f"See `harness fault {made.name} --help`."
        ) from None
    made.check(parameters)
    return parameters


def _said(made: type[Fault], values: Mapping[str, Any], problem: Any) -> str:
    field = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "missing":
        return f"{field} is required ({made.takes.model_fields[field].description})"
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, made.takes.model_fields, 1, 0.5)
        return f"there is no parameter {field!r}" + (f"; is {near[0]!r} meant?" if near else "")
    said = problem["msg"].removeprefix("Value error, ")
    return f"{field} is {values[field]!r}: {said}" if field in values else said


def target_of(made: type[Fault], file: StackFile, parameters: Parameters) -> str:
    """What it would be put on: as written, or where that may be left out, the first that there is; '' for nothing."""
    field = made.takes.target
    written = getattr(parameters, field) if field else None
    return str(written) if written else next(iter(made.targets(file)), "")


def wrong_target(made: type[Fault], file: StackFile, parameters: Parameters) -> UsageError | None:
    """What is wrong with what it is to be put on, as far as the stack file tells."""
    targets, on, field = made.targets(file), target_of(made, file, parameters), made.takes.target
    if not targets:
        cause = f"{made.name} cannot be put on anything in stack {file.metadata.name}"
        return UsageError("fault-parameter", cause, "`harness fault list` shows what can be had in this stack.")
    if on in targets:
        return None
    near = difflib.get_close_matches(on, targets, 1, 0.5)
    meant = f"; is {near[0]!r} meant?" if near else f"; it can be {', '.join(targets)}"
    cause = f"{made.name}: no {field} {on!r} that it could be put on{meant}"
    return UsageError(_UNKNOWN.get(field, "fault-parameter"), cause, "See stack.yaml, or `harness fault list`.")


def impossible(
    made: type[Fault], file: StackFile, target: str, missing: Mapping[str, Unavailable]
) -> tuple[str, str] | None:
    """Why this machine cannot put it on `target`, and what to do; None if it can."""
    why = made.lacking(file, target, missing)
    if not why:
        return None
    service = made.service_of(file, target)
    remedy = missing[service].remedy if service in missing else "`harness fault list` shows what can be had here."
    return why, remedy


def refuse_impossible(
    made: type[Fault], file: StackFile, parameters: Parameters, missing: Mapping[str, Unavailable]
) -> None:
    """Raises HarnessError fault-unavailable (not-validated) for what this machine cannot have."""
    target = target_of(made, file, parameters)
    if (found := impossible(made, file, target, missing)) is not None:
        on = f" on {target}" if target else ""
        raise HarnessError(
            "fault-unavailable",
            f"{made.name}{on} cannot be had on this machine: {found[0]}",
            found[1],
            outcome=Outcome.NOT_VALIDATED,
        )
