"""What the faults on services share: whom they can be put on, and how it is told whether a service answers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import Field

from harness.core.errors import HarnessError, UsageError
from harness.faults.collections import answering
from harness.faults.fault import Kind
from harness.faults.guarded import GuardedFault
from harness.faults.parameters import Parameters
from harness.model.events import Event
from harness.model.stackfile import StackFile
from harness.stack.availability import refuse_without
from harness.stack.handle import Stack
from harness.stack.undo import Step


class ServiceParameters(Parameters):
    """What all faults on services take."""

    target = "service"

    service: str = Field(description="the service, as stack.yaml names it; no job")


class ServiceFault(GuardedFault):
    """Base of faults on a service. Raises UsageError service-unknown, fault-parameter for a job, HarnessError
    service-unavailable (not-validated) for a service that this machine cannot run."""

    kind: ClassVar[Kind] = "service"

    def __init__(
        self, stack: Stack, parameters: ServiceParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(stack, parameters, emit)
        self.service = parameters.service
        known = self.targets(stack.file)
        if self.service not in known:
            raise self._no_target(known)
        refuse_without(stack.file, [self.service], stack.unavailable, self.label)

    @classmethod
    def on(cls, stack: Stack, parameters: Parameters, emit: Callable[[Event], None] | None = None) -> ServiceFault:
        assert isinstance(parameters, ServiceParameters)
        return cls(stack, parameters, emit)

    @classmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        return tuple(name for name, one in file.spec.services.items() if one.job is None)

    def _no_target(self, known: tuple[str, ...]) -> UsageError:
        if self.service in self.stack.file.spec.services:
            return UsageError("fault-parameter", f"{self.service} is a job, which ends", "Name a service that lasts.")
        near = difflib.get_close_matches(self.service, known, 1, 0.5)
        meant = f"; is {near[0]!r} meant?" if near else f"; known are {', '.join(known)}"
        cause = f"no service {self.service!r} in the stack{meant}"
        return UsageError("service-unknown", cause, "See `services` in stack.yaml.")

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({f"service {self.service}"})

    def _apply(self) -> str:
        self._collections = self._answering()
        return super()._apply()

    @property
    def _patience(self) -> float:
        """As long as the stack file gives it to become ready: it may have to start."""
        return self.stack.file.spec.services[self.service].timeout

    @property
    def _probe_speaks(self) -> bool:
        """Whether its readiness probe waits for an answer. One that only connects is answered by the kernel."""
        service = self.stack.file.spec.services[self.service]
        return service.use is not None or (service.ready is not None and service.ready.http is not None)

    def _start(self, within: float = 0.1) -> Step:
        """The step that starts the service unless it runs; and again when it ends in so many seconds: one that has just
        got SIGKILL, from whomever, still runs."""
        return {"do": "start", "name": self.service, "within": within}

    def _process(self) -> Mapping[str, Any]:
        """What the supervisor says of the process: state, code, asked, restarts."""
        found: dict[str, Any] = self.guard.ask("status")["processes"][self.service]
        return found

    def _ask(self, op: str, **arguments: Any) -> dict[str, Any] | None:
        """What the supervisor says of the service, None when that does not run."""
        try:
            return self.guard.ask(op, name=self.service, **arguments)
        except HarnessError as error:
            if error.slug == "supervisor-refused":
                return None
            raise

    def _answers(self) -> bool:
        return self.stack.is_ready(self.service)

    def _is_back(self) -> bool:
        """Whether it answers, and of a Milvus each collection that did before."""
        return self._answers() and self._collections <= self._answering()

    def _answering(self) -> frozenset[str]:
        if self.stack.file.spec.services[self.service].use != "milvus":
            return frozenset()
        return answering(self.stack.address(f"{self.service}.grpc"))
