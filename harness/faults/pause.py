"""Pause: SIGSTOP to a service and all below it. It holds its connections, accepts others, and answers nothing."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from harness.faults.service_fault import ServiceFault, ServiceParameters
from harness.stack.services import RECIPES
from harness.stack.undo import Step


class Pause(ServiceFault):
    """In force when the kernel tells that each of its processes is stopped, and its readiness probe gets no answer. One
    that cannot go on after so long a pause (`Recipe.longest_pause`) is killed and started instead."""

    name = "pause"
    takes = ServiceParameters

    def _undo_steps(self) -> Sequence[Step]:
        go_on = {"do": "signal", "name": self.service, "signal": int(signal.SIGCONT), "tree": True}
        use = self.stack.file.spec.services[self.service].use
        longest = RECIPES[use].longest_pause if use is not None else None
        if longest is None:
            return (go_on, self._start())
        return ({"do": "kill", "name": self.service, "after": longest}, go_on, self._start())

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
        return "it runs, and answers" if self._is_back() else ""
