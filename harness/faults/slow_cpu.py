"""Slow CPU: a service may run for a share of each period alone; for the rest of it all its processes are stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field

from harness.core.errors import UsageError
from harness.faults.parameters import DurationText, Parameters, main
from harness.faults.service_fault import ServiceFault, ServiceParameters
from harness.faults.units import seconds_of
from harness.model.events import Event
from harness.stack.handle import Stack
from harness.stack.undo import Step

PERIODS = 5  # after so many it is looked whether the share is what it should be
SHORTEST, LONGEST = 0.01, 1.0  # seconds of a period


class SlowCpuParameters(ServiceParameters):
    share: float = main(description="of each period that it may run, more than 0 and less than 1", gt=0, lt=1)
    period: DurationText = Field("100ms", description="10 ms to 1 s; it is stopped for up to that long at a time")


class SlowCpu(ServiceFault):
    """A request meets a server that is stopped for most of the time; work takes 1 / share as long. The supervisor keeps
    the beat and counts; in force when it was stopped for the share that is due, within a tenth of it."""

    name = "slow-cpu"
    takes = SlowCpuParameters

    def __init__(
        self, stack: Stack, parameters: SlowCpuParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(stack, parameters, emit)
        self.check(parameters)
        self._share = parameters.share
        self._period = seconds_of("period", parameters.period)

    @classmethod
    def check(cls, parameters: Parameters) -> None:
        assert isinstance(parameters, SlowCpuParameters)
        if not SHORTEST <= seconds_of("period", parameters.period) <= LONGEST:
            raise UsageError("fault-parameter", f"period is {parameters.period}", "Write 10ms to 1s.")

    def _undo_steps(self) -> Sequence[Step]:
        return ({"do": "full-speed", "name": self.service}, self._start())

    def _break(self) -> None:
        self.guard.ask("throttle", name=self.service, share=self._share, period=self._period)

    def _seen(self) -> str:
        told = self._ask("throttled")
        if told is None or told["periods"] < PERIODS:
            return ""
        due, stopped = 1 - self._share, told["seconds_stopped"] / told["seconds"]
        if abs(stopped - due) > due / 10:
            return ""
        return f"it was stopped for {stopped:.0%} of {told['periods']} periods; {due:.0%} are due"

    def _gone(self) -> str:
        told = self._ask("stopped")
        if self._ask("throttled") is not None or told is None or told["stopped"]:
            return ""
        return "it runs without pause, and answers" if self._is_back() else ""
