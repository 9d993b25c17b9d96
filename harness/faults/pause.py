"""Pause: SIGSTOP to a service and all below it. It holds its connections, accepts others, and answers nothing."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from harness.faults.service_fault import ServiceFault, ServiceParameters
from harness.stack.undo import Step


class Pause(ServiceFault):
    """In force when the kernel tells that each of its processes is stopped, and its readiness probe gets no answer."""

    name = "pause"
    takes = ServiceParameters

    def _undo_steps(self) -> Sequence[Step]:
        return ({"do": "signal", "name": self.service, "signal": int(signal.SIGCONT), "tree": True}, self._start())

    def _break(self) -> None:
        self.guard.ask("signal", name=self.service, signal=int(signal.SIGSTOP), tree=True)

    def _seen(self) -> str:
        told = self._ask("stopped")
        if told is None or not told["stopped"]:
            return ""
        if not self._probe_speaks:
            return "all its processes are stopped"
        return "" if self._answers() else "all its processes are stopped, and it does not answer"

    def _gone(self) -> str:
        return "it runs, and answers" if self._answers() else ""
