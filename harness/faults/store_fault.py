"""What the faults on data stores share: which service they are put on."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, ClassVar, cast

from pydantic import Field

from harness.core.errors import UsageError
from harness.faults.fault import Fault, Kind
from harness.faults.parameters import Parameters
from harness.model.events import Event
from harness.model.stackfile import StackFile
from harness.stack.availability import refuse_without
from harness.stack.handle import Stack


class StoreParameters(Parameters):
    """What all faults on data stores take."""

    target = "service"

    service: str | None = Field(
        None, description="the service, as stack.yaml names it; if not given, the only one of its kind"
    )


class StoreFault(Fault):
    """Base of faults on what stack.yaml has by `use`. Its constructor takes a stack and parameters that name the
    service."""

    kind: ClassVar[Kind] = "store"
    use: ClassVar[str]
    given: Parameters

    @classmethod
    def on(cls, stack: Stack, parameters: Parameters, emit: Callable[[Event], None] | None = None) -> Fault:
        """Raises UsageError service-unknown, fault-parameter where there are several and none is named; HarnessError
        service-unavailable (not-validated)."""
        assert isinstance(parameters, StoreParameters)
        service = cls._chosen(stack.file, parameters.service)
        refuse_without(stack.file, [service], stack.unavailable, f"{cls.name} on {service}")
        made = cast(Any, cls)(stack, parameters.model_copy(update={"service": service}), emit)
        assert isinstance(made, Fault)
        return made

    @classmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        return tuple(file.spec.services_of(cls.use))

    @classmethod
    def _chosen(cls, file: StackFile, service: str | None) -> str:
        known = cls.targets(file)
        if service is None:
            if len(known) == 1:
                return known[0]
            there = f"{', '.join(known)} all use {cls.use}" if known else f"no service uses {cls.use}"
            raise UsageError("fault-parameter", f"{cls.name}: {there}", "Name one of them as `service`.")
        if service in known:
            return service
        raise UsageError("service-unknown", f"no service {service!r} that uses {cls.use}{meant(service, known)}",
                         "See `services` in stack.yaml.")  # fmt: skip

    @property
    def service(self) -> str:
        return self.given.on

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({f"service {self.service}"})


def meant(name: str, known: tuple[str, ...]) -> str:
    """What to say after a name that is none of those that are known."""
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; is {near[0]!r} meant?" if near else f"; known are {', '.join(known) or 'none'}"
