"""What would come of validations on this machine, before any is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import UsageError
from harness.core.outcome import Outcome
from harness.gate.faults import impossible_faults
from harness.gate.plan import Planned
from harness.model.finding import Finding
from harness.slo.unavailable import without_services
from harness.stack.availability import Unavailable, lacking

_MARK = b"kind: Validation"


@dataclass(frozen=True, slots=True)
class Lack:
    """What stands in the way: a service, a fault, an objective or a check of the machine by name, why, what to do."""

    name: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """One validation. state: runs | not-validated (a service or fault of it cannot be had here) | error (no stack would
    come up); lacks: why not; objectives: those that would be not-validated by themselves though it runs."""

    name: str
    path: str
    state: Literal["runs", "not-validated", "error"]
    lacks: tuple[Lack, ...] = ()
    objectives: tuple[Lack, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all of it would be validated."""
        return self.state == "runs" and not self.objectives

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def forecast(planned: Planned, missing: Mapping[str, Unavailable], obstacles: Sequence[Lack]) -> Forecast:
    """missing: services of its stack that cannot be had here; obstacles: what keeps any stack from coming up."""
    name, path = planned.validation.name, str(planned.validation.path)
    if roots := lacking(planned.stack, planned.needs, missing):
        lacks = tuple(Lack(root, missing[root].cause, missing[root].remedy) for root in roots)
        return Forecast(name, path, "not-validated", lacks)
    if impossible := impossible_faults(planned.faults, planned.stack, missing):
        lacks = tuple(Lack(f"fault {one.id}", why, remedy) for one, why, remedy in impossible)
        return Forecast(name, path, "not-validated", lacks)
    if obstacles:
        return Forecast(name, path, "error", tuple(obstacles))
    return Forecast(name, path, "runs", objectives=tuple(_objectives(planned, missing)))


def _objectives(planned: Planned, missing: Mapping[str, Unavailable]) -> Iterable[Lack]:
    """Those that the judge would not validate, asked of the judge's own rule."""
    spec = planned.stack.spec
    stack = {
        "unavailable": {name: why.as_dict() for name, why in missing.items()},
        "store": next(iter(spec.services_of("prometheus")), None),
        "jobs": {job: ref.partition(".")[0] for job, ref in spec.scrape.items()},
    }
    for objective in planned.objectives:
        asked = Finding(objective.id, "prometheus", Outcome.PASS)
        if (said := without_services(objective, asked, stack)).outcome is Outcome.NOT_VALIDATED:
            why, _, remedy = said.reason.partition("; remedy: ")
            yield Lack(objective.id.removeprefix("objectives/"), why, remedy)


def find_validations(places: Iterable[Path], *, required: bool = True) -> list[Path]:
    """The files of these places: a file itself, of a directory all that hold a validation, by name.

    Raises UsageError: file-unreadable for a place that is not there, no-validations for a directory without any if they
    are required.
    """
    found: list[Path] = []
    for place in places:
        if place.is_file():
            found.append(place)
            continue
        if not place.is_dir():
            raise UsageError("file-unreadable", f"{place}: no such file or directory", "Check the path.")
        inside = sorted(path for path in place.rglob("*") if path.suffix in (".yaml", ".yml") and _holds(path))
        if required and not inside:
            raise UsageError("no-validations", f"no file below {place} holds a validation", "Name another directory.")
        found += inside
    return list(dict.fromkeys(found))


def _holds(path: Path) -> bool:
    try:
        return path.is_file() and _MARK in path.read_bytes()
    except OSError:
        return True  # that it cannot be read is said when it is planned
