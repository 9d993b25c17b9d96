"""The faults of a validation, read: which, on what, when. Nothing has started; all that is wrong is located."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.duration import format_duration
from harness.core.errors import UsageError, first_of, gathered
from harness.faults.fault import Fault
from harness.faults.making import impossible, refuse_impossible, target_of, wrong_target
from harness.faults.parameters import Parameters
from harness.faults.registry import FAULTS
from harness.model.fault_entry import FaultRequest
from harness.model.source import Document, Path_, parse_model
from harness.model.stackfile import StackFile
from harness.model.validation import Validation
from harness.stack.availability import Unavailable


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault as it will be set. target: what it is put on, '' if there is nothing to choose; at_ns, for_ns: after
    the begin of the steady phase, and how long."""

    made: type[Fault]
    parameters: Parameters
    target: str
    at_ns: int
    for_ns: int
    number: int = 1  # among those with this name and target

    @property
    def id(self) -> str:
        """Stable within a run: `latency{app->milvus}`."""
        again = f"#{self.number}" if self.number > 1 else ""
        return f"{self.made.name}{{{self.target}}}{again}"

    @property
    def end_ns(self) -> int:
        return self.at_ns + self.for_ns

    def as_dict(self) -> dict[str, Any]:
        """What plan.json says of it."""
        return {
            "id": self.id,
            "fault": self.made.name,
            "target": self.target,
            "parameters": self.parameters.model_dump(mode="json", exclude_none=True),
            "at": self.at_ns,
            "for": self.for_ns,
        }


def read_faults(validation: Validation, file: StackFile) -> tuple[PlannedFault, ...]:
    """The faults of a validation in the order of the file, for the profile that it was read for. Raises UsageError,
    located, with all others in its `also`: fault-unknown, unknown-field, missing-field, bad-value, fault-parameter,
    link-unknown, service-unknown, fault-outside, fault-overlap."""
    wrong: list[UsageError] = []
    found: list[tuple[FaultRequest, PlannedFault]] = []
    for request in validation.faults:
        with gathered(wrong):
            planned = _read(validation, file, request)
            for earlier, other in found:
                with gathered(wrong):
                    _refuse_overlap(validation.document, file, (request, planned), (earlier, other))
            alike = sum((one.made, one.target) == (planned.made, planned.target) for _, one in found)
            found.append((request, replace(planned, number=alike + 1)))
    if wrong:
        raise first_of([error for one in wrong for error in (one, *_others(one))])
    return tuple(one for _, one in found)


def _others(error: UsageError) -> Iterable[UsageError]:
    return (one for one in error.also if isinstance(one, UsageError))


def _read(validation: Validation, file: StackFile, request: FaultRequest) -> PlannedFault:
    document, place = validation.document, (*request.place, request.name)
    if request.name not in FAULTS:
        near = difflib.get_close_matches(request.name, FAULTS, 1, 0.5)
        remedy = f"Did you mean {near[0]!r}?" if near else "`harness fault list` shows all."
        raise document.error(place, "fault-unknown", f"no fault is called {request.name!r}", remedy, on="key")
    made = FAULTS[request.name]
    parameters = _parameters(document, made, request.values, place)
    if (wrong := wrong_target(made, file, parameters)) is not None:
        raise document.error((*place, made.takes.target), wrong.slug, wrong.cause, wrong.remedy)
    try:
        made.check(parameters)
    except UsageError as error:
        raise document.error(place, error.slug, error.cause, error.remedy, on="key") from None
    steady = validation.load.duration
    lasts = steady - request.at_ns if request.for_ns is None else request.for_ns
    phase = f"the steady phase of {format_duration(steady)} in profile {validation.profile}"
    remedy = "Let it begin earlier or last shorter, or lengthen load.duration."
    if request.at_ns >= steady:
        cause = f"{made.name} would begin at {format_duration(request.at_ns)}, after {phase}"
        raise document.error((*request.place, "at"), "fault-outside", cause, remedy)
    if request.at_ns + lasts > steady:
        cause = f"{made.name} would end at {format_duration(request.at_ns + lasts)}, after {phase}"
        raise document.error((*request.place, "for"), "fault-outside", cause, remedy)
    return PlannedFault(made, parameters, target_of(made, file, parameters), request.at_ns, lasts)


def _parameters(document: Document, made: type[Fault], values: Any, place: Path_) -> Parameters:
    if values is None and not any(one.is_required() for one in made.takes.model_fields.values()):
        return made.takes.model_validate({})
    if isinstance(values, Mapping) and "lasting" in values:
        cause = f"in a validation how long {made.name} lasts is said by `for`, beside it"
        raise document.error(
            (*place, "lasting"), "unknown-field", cause, "Write `for: 10s` beside the fault.", on="key"
        )
    return parse_model(document, made.takes, place)


def _refuse_overlap(
    document: Document,
    file: StackFile,
    one: tuple[FaultRequest, PlannedFault],
    other: tuple[FaultRequest, PlannedFault],
) -> None:
    (request, fault), (_, before) = one, other
    shared = touched(fault, file) & touched(before, file)
    if shared and fault.at_ns < before.end_ns and before.at_ns < fault.end_ns:
        cause = (
            f"{fault.made.name} and {before.made.name} would break {sorted(shared)[0]} at the same time: from "
            f"{format_duration(max(fault.at_ns, before.at_ns))} to "
            f"{format_duration(min(fault.end_ns, before.end_ns))} of the steady phase"
        )
        remedy = (
            "Let one begin when the other has ended, with some seconds between: what was seen is of one of them then."
        )
        raise document.error((*request.place, request.name), "fault-overlap", cause, remedy, on="key")


def touched(fault: PlannedFault, file: StackFile) -> frozenset[str]:
    """What it breaks, as far as the plan tells: `link NAME`, `service NAME`, or what else its parameter names."""
    what = fault.made.takes.target or ("service" if fault.target in file.spec.services else fault.made.kind)
    return frozenset({f"{what} {fault.target}"})


def refuse_impossible_faults(
    faults: Sequence[PlannedFault], file: StackFile, missing: Mapping[str, Unavailable]
) -> None:
    """Raises HarnessError fault-unavailable (not-validated) for the first that this machine cannot have."""
    for one in faults:
        refuse_impossible(one.made, file, one.parameters, missing)


def impossible_faults(
    faults: Sequence[PlannedFault], file: StackFile, missing: Mapping[str, Unavailable]
) -> list[tuple[PlannedFault, str, str]]:
    """Those that this machine cannot have: which, why, what to do."""
    found = ((one, impossible(one.made, file, one.target, missing)) for one in faults)
    return [(one, *told) for one, told in found if told is not None]
