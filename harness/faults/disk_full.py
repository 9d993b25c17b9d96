"""Disk full: the file system that a service has of its own, `disk` in stack.yaml, is filled by another file, and kept
full."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.core.size import parse_size
from harness.faults.service_fault import ServiceFault, ServiceParameters
from harness.faults.waiting import wait_for
from harness.model.events import Event
from harness.model.json_schema import size_schema
from harness.model.stackfile import StackFile
from harness.stack.availability import Unavailable
from harness.stack.handle import Stack
from harness.stack.isolation import best_isolation
from harness.stack.undo import Step

SLACK = 64 << 10  # bytes that may be free beyond `spare`: less than anything that a server writes at once
SETTLE = 0.5  # seconds for the ballast to take what a service has just set free
REVIVE = 1.0  # seconds after the space is back in which a service that ends of what it met before is started again
_NO_MOUNTS = (
    "a stack in isolation `subreaper` has no mounts of its own, so its services share the machine's disk; run as root, "
    "or where user namespaces are allowed"
)


def _size(text: str) -> str:
    parse_size(text)
    return text


class DiskFullParameters(ServiceParameters):
    spare: Annotated[str, AfterValidator(_size), WithJsonSchema(size_schema())] = Field(
        "0B", description="what is left free, as 512kB"
    )


class DiskFull(ServiceFault):
    """In force when the file system says that it has no space. A server may die of it, which is part of the fault: when
    the space is back, one that does not run is started."""

    name = "disk-full"
    takes = DiskFullParameters

    def __init__(
        self, stack: Stack, parameters: DiskFullParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(stack, parameters, emit)
        self._spare = parse_size(parameters.spare)
        if stack.isolation == "subreaper" and stack.container(self.service) is None:
            cause = f"{self.label} cannot be had on this machine: {_NO_MOUNTS}"
            raise HarnessError("fault-unavailable", cause, "See docs/faults.md.", outcome=Outcome.NOT_VALIDATED)
        self._disk = stack.disk_dir(self.service)
        self._file = str(self._disk / ".ballast")
        self._filler = f"ballast-{self.service}"

    @classmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        return tuple(name for name, one in file.spec.services.items() if one.disk is not None)

    @classmethod
    def lacking(cls, file: StackFile, target: str, missing: Mapping[str, Unavailable]) -> str:
        return super().lacking(file, target, missing) or (_NO_MOUNTS if best_isolation() == "subreaper" else "")

    def _no_target(self, known: tuple[str, ...]) -> UsageError:
        if self.service not in self.stack.file.spec.services:
            return super()._no_target(known)
        cause = f"{self.service} has no file system of its own that could be filled"
        return UsageError("fault-parameter", cause, f"Write `disk: 256MB` below `{self.service}:` in stack.yaml.")

    def _undo_steps(self) -> Sequence[Step]:
        kill = {"do": "signal", "name": self._filler, "signal": 9}
        return (kill, self.stack.emptied(self.service, self._file), self._start(REVIVE))

    def _break(self) -> None:
        spec = self.stack.ballast(self.service, self._file, self._spare)
        self.guard.ask("start", name=self._filler, **{key: spec[key] for key in ("argv", "env", "cwd", "log")})

    def _space(self) -> dict[str, Any]:
        return self.guard.ask("space", name=self.service, path=str(self._disk), file=self._file)

    def _seen(self) -> str:
        told = wait_for(lambda: one if (one := self._space())["free"] <= self._spare + SLACK else None, SETTLE)
        return f"{told['free']} of {told['size']} bytes are free" if told else ""

    def _gone(self) -> str:
        told = self._space()
        if told["held"] or not self._is_back():
            return ""
        return f"{told['free']} of {told['size']} bytes are free again, and it answers"
