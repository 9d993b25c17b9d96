"""Kill: a service and all below it get SIGKILL, and it stays away until the fault ends; then it is started again."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from harness.faults.service_fault import ServiceFault, ServiceParameters
from harness.stack.undo import Step
from harness.stack.units import ending


class Kill(ServiceFault):
    """In force while the supervisor has no process of it and its container does not run. What it kept in memory is
    lost; what a store does with a data directory that it did not close is its own affair, and part of the fault."""

    name = "kill"
    takes = ServiceParameters

    def _undo_steps(self) -> Sequence[Step]:
        return (self._start(),)

    def _break(self) -> None:
        # `stop` and not `signal`: an end that was asked for is no service that died by itself.
        self.guard.ask("stop", name=self.service, signal=int(signal.SIGKILL), grace=0)

    def _seen(self) -> str:
        process = self._process()
        if process["state"] != "exited" or self.stack.outlives(self.service):
            return ""
        return f"it {ending(process['code'])}"

    def _gone(self) -> str:
        return "it was started again, and answers" if self._is_back() else ""
