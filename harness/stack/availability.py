"""Which services of a stack can be had on this machine: one that cannot takes along what needs it; the rest runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.model.builtins import BUILTINS
from harness.model.stackfile import Service, StackFile
from harness.model.template import placeholders
from harness.stack.services import RECIPES
from harness.stack.tools import resolve_tool


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a service cannot be had here, and what to do about it."""

    slug: str
    cause: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Unavailable:
        return cls(**stored)


def unavailable(file: StackFile, runtime: str = "local") -> dict[str, Unavailable]:
    """The services of `file` that this machine cannot run, in the order of the file: a program of theirs is missing, or
    something that they need is not to be had. In containers all can be had, or no stack is. Raises UsageError
    bad-tool-override."""
    if runtime != "local":
        return {}
    found: dict[str, Unavailable] = {}
    for name, service in file.spec.services.items():
        try:
            _check(service)
        except HarnessError as error:
            if error.outcome is not Outcome.NOT_VALIDATED:
                raise
            found[name] = Unavailable(error.slug, error.cause, error.remedy)
    while True:
        more = {
            name: Unavailable("needs-unavailable", f"{name} needs {other}: {found[other].cause}", found[other].remedy)
            for name in file.spec.services
            if name not in found
            for other in hard_needs(file, name)
            if other in found
        }
        if not more:
            return {name: found[name] for name in file.spec.services if name in found}
        found |= more


def _check(service: Service) -> None:
    """Raises HarnessError with the outcome not-validated for a service that cannot be had here."""
    if service.use is None:
        return
    recipe = RECIPES[service.use]
    for tool in recipe.tools:
        resolve_tool(tool)
    if recipe.check is not None:
        recipe.check(resolve_tool)


def hard_needs(file: StackFile, name: str) -> tuple[str, ...]:
    """What a service cannot be without, directly: its `needs`, and the service that a built-in is of."""
    service = file.spec.services[name]
    of = BUILTINS[service.use].of if service.use is not None else None
    return (*service.needs, *(file.spec.services_of(of) if of is not None else ()))


def needed_by(file: StackFile, names: Iterable[str], *, wishes: bool) -> set[str]:
    """`names` and all that they need, to the end; with `wishes` also what they start after, and whom they speak to."""
    reached: set[str] = set()
    open_ = list(names)
    while open_:
        name = open_.pop()
        if name not in reached:
            reached.add(name)
            open_ += [*hard_needs(file, name), *(_wishes(file, name) if wishes else ())]
    return reached


def _wishes(file: StackFile, name: str) -> list[str]:
    service = file.spec.services[name]
    named = [part for _, text in service.texts() for part in placeholders(text)]
    refs = [file.spec.links[what].to for kind, what in named if kind == "link"]
    refs += [what for kind, what in named if kind == "address"]
    return [*service.after, *(ref.partition(".")[0] for ref in refs)]


def refuse_without(file: StackFile, names: Iterable[str], missing: Mapping[str, Unavailable], what: str) -> None:
    """Raises HarnessError service-unavailable (not-validated) where one of `names` is among `missing`. what: who needs
    them, as the sentence begins."""
    roots = lacking(file, names, missing)
    if roots:
        causes = "; ".join(f"{name}: {missing[name].cause}" for name in roots)
        raise HarnessError(
            "service-unavailable",
            f"{what} needs {', '.join(roots)}, which cannot be had on this machine: {causes}",
            missing[roots[0]].remedy,
            outcome=Outcome.NOT_VALIDATED,
        )


def lacking(file: StackFile, names: Iterable[str], missing: Mapping[str, Unavailable]) -> list[str]:
    """Which of `names` are among `missing`, in the order of the file; one that only hands on what another of them lacks
    says nothing new, and is left out."""
    wanted = set(names)
    found = [name for name in file.spec.services if name in wanted and name in missing]
    return [name for name in found if missing[name].slug != "needs-unavailable"] or found
