"""Restart: a service is ended in its own way and started again at once, as by a deployment."""

from __future__ import annotations

from collections.abc import Sequence

from harness.faults.service_fault import ServiceFault, ServiceParameters
from harness.stack.undo import Step


class Restart(ServiceFault):
    """It gets the signal that it wants to be ended by, and SIGKILL when it outstays its grace. In force when the old
    process is gone and another was started; undone when that is ready. `lasting` changes nothing."""

    name = "restart"
    takes = ServiceParameters

    def _undo_steps(self) -> Sequence[Step]:
        self._before = int(self._process()["restarts"])
        return (self._start(),)

    def _break(self) -> None:
        self.stack.stop_service(self.service)
        self.guard.ask("restart", name=self.service)

    def _seen(self) -> str:
        return "its process ended, and another was started" if self._process()["restarts"] > self._before else ""

    def _gone(self) -> str:
        return "another process of it answers" if self._is_back() else ""
