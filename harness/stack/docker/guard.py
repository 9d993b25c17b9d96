"""The undo list of a stack with containers: what a fault asks of a process, the engine is asked of a container.

The supervisor knows followers alone. What the kernel does to a process is done another way there.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError
from harness.stack.docker.execute import execute
from harness.stack.guard import Guard
from harness.stack.undo import Step

if TYPE_CHECKING:
    from harness.stack.docker.stack import DockerStack

_SPEC = ("argv", "env", "cwd", "log")


class DockerGuard(Guard):
    """Besides what its base raises, `ask` raises HarnessError engine-lost and engine-refused. Limits of open files are
    not translated: FileLimit refuses containers."""

    def __init__(self, stack: DockerStack) -> None:
        super().__init__(stack.id)
        self._stack = stack

    def arm(self, label: str, steps: Sequence[Step], seconds: float | None = None) -> None:
        """As the base."""
        super().arm(label, [self._translated(step) for step in steps], seconds)

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """As the base; of a container what the engine makes of it."""
        service = arguments.get("name")
        if service not in self._stack.file.spec.services or self._stack.container(service) is None:
            return super().ask(op, **arguments)
        match op:
            case "signal" if self._stack.by_engine(service, int(arguments["signal"])):
                return {}
            case "stopped":
                return {"stopped": self._running(op, service)["Paused"]}
            case "space":
                return self._space(service, arguments["path"], arguments["file"])
            case "throttle":
                return self._throttle(service, float(arguments["share"]), float(arguments["period"]))
            case "throttled":
                return self._throttled(service)
        return super().ask(op, **arguments)

    def _translated(self, step: Step) -> Step:
        service = step.get("name")
        if step["do"] != "full-speed" or service is None or self._stack.container(service) is None:
            return step
        return {"do": "signal", "name": _duty(service), "signal": int(signal.SIGTERM)}

    def _running(self, op: str, service: str) -> dict[str, Any]:
        state = self._stack.state(service)
        if not state["Running"]:
            raise HarnessError("supervisor-refused", f"{op} {service}: {service} is not running", "See above.")
        return state

    def _space(self, service: str, directory: str, file: str) -> dict[str, Any]:
        """Asked of the container that holds the disk: its own may have died of it."""
        script = 'stat -f -c "%b %f %S" "$1"; [ ! -e "$2" ] || stat -c %b "$2"'
        holder = self._stack.disk_holder(service)
        told = execute(self._stack.engine, holder, ["sh", "-c", script, "sh", directory, file]).split()
        blocks, free, size, *held = map(int, told)
        return {"size": blocks * size, "free": free * size, "held": sum(held) * 512}

    def _throttle(self, service: str, share: float, period: float) -> dict[str, Any]:
        report = self._report(service)
        report.unlink(missing_ok=True)
        arguments = (str(self._stack.container(service)), str(share), str(period), str(report))
        spec = self._stack.undo_program("harness.stack.docker.duty", *arguments)
        spec["env"] = spec["env"] | {"DOCKER_HOST": self._stack.engine.host}
        return super().ask("start", name=_duty(service), **{key: spec[key] for key in _SPEC})

    def _throttled(self, service: str) -> dict[str, Any]:
        process = super().ask("status")["processes"].get(_duty(service))
        if process is None or process["state"] != "running":
            raise HarnessError("supervisor-refused", f"throttled: {service} has no duty cycle", "See above.")
        report = self._report(service)
        if not report.exists():
            return {"periods": 0, "seconds": 0.0, "seconds_stopped": 0.0}
        told: dict[str, Any] = json.loads(report.read_text())
        return told

    def _report(self, service: str) -> Path:
        return self._stack.directory / f"{_duty(service)}.json"


def _duty(service: str) -> str:
    """The name of the process that keeps the beat of a container."""
    return f"duty-{service}"
