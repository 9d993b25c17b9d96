"""File limit: the processes of a service may open so many more files and connections, and no other (RLIMIT_NOFILE)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.faults.parameters import main
from harness.faults.service_fault import ServiceFault, ServiceParameters
from harness.model.events import Event
from harness.stack.handle import Stack
from harness.stack.undo import Step


class FileLimitParameters(ServiceParameters):
    spare: int = main(0, description="how many more each of its processes may open", ge=0)


class FileLimit(ServiceFault):
    """What is open stays open. In force when the kernel tells the lowered limits and, with nothing to spare, a new
    connection gets no answer; a file that is closed meanwhile leaves its place to another."""

    name = "file-limit"
    takes = FileLimitParameters

    def __init__(
        self, stack: Stack, parameters: FileLimitParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(stack, parameters, emit)
        if stack.container(self.service) is not None:
            cause = f"{self.label}: only the start of a container can say how many files it may open"
            raise HarnessError("fault-in-container", cause, "Use --runtime local.", outcome=Outcome.NOT_VALIDATED)
        self._spare = parameters.spare
        self._met = False

    def _undo_steps(self) -> Sequence[Step]:
        self._met = False
        self._before: list[list[int]] = self.guard.ask("limits", name=self.service)["pids"]
        return ({"do": "limits", "name": self.service, "pids": self._before}, self._start())

    def _break(self) -> None:
        told = self.guard.ask("limit", name=self.service, spare=self._spare)["limits"]
        self._lowered = {int(pid): int(limit) for pid, limit in told.items()}

    def _seen(self) -> str:
        told = self._ask("limits")
        if told is None or any(soft > self._lowered.get(pid, soft) for pid, _, soft, _ in told["pids"]):
            return ""
        if self._spare == 0 and self._probe_speaks and not self._met:
            if self._answers():  # in a place that was left meanwhile
                self._break()
                return ""
            self._met = True
        limits = ", ".join(str(limit) for limit in sorted(set(self._lowered.values())))
        new = "; a new connection got no answer" if self._met else ""
        return f"its processes may have files below number {limits}{new}"

    def _gone(self) -> str:
        told = self._ask("limits")
        if told is None:
            return ""
        before = {(pid, started): soft for pid, started, soft, _ in self._before}
        least = self._before[0][2]
        if any(soft < before.get((pid, started), min(least, hard)) for pid, started, soft, hard in told["pids"]):
            return ""
        return "its limits are as before, and it answers" if self._is_back() else ""
