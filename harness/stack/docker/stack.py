"""A stack whose stores and watchers are containers: what of the handle is different."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.stack.control import Control
from harness.stack.docker.bringup import RELAY, DockerRun
from harness.stack.docker.engine import Engine
from harness.stack.docker.hosts import Host
from harness.stack.docker.services.declared import DISK
from harness.stack.guard import Guard
from harness.stack.handle import Stack
from harness.stack.launch import Launched
from harness.stack.layout import Layout

_BY_ENGINE = {int(signal.SIGSTOP): "pause", int(signal.SIGCONT): "unpause", int(signal.SIGKILL): "kill"}


class DockerStack(Stack):
    """Handle on a running stack. Besides what its base raises, methods raise HarnessError engine-lost and
    engine-refused."""

    runtime = "docker"
    processes = (*Stack.processes, RELAY)

    def __init__(
        self,
        layout: Layout,
        control: Control,
        info: dict[str, Any],
        *,
        launched: Launched | None,
        reused: bool,
        run: DockerRun | None = None,
    ) -> None:
        """run: what it was brought up with; None for one that was up."""
        super().__init__(layout, control, info, launched=launched, reused=reused)
        self.engine = Engine(Host(info["docker"]["host"])) if run is None else run.engine
        self._run = run

    def container(self, service: str) -> str | None:
        """The name of a service's container; None for a service that is a process."""
        self._known(service)
        one = self._info["docker"]["containers"].get(service)
        return None if one is None else str(one["name"])

    def disk_holder(self, service: str) -> str:
        """The name of the container that does nothing but keep a service's disk, mounted at `disk_dir`, where it can be
        looked into and written to."""
        return f"{self.container(service)}-disk-holder"

    @property
    def images(self) -> dict[str, dict[str, Any]]:
        """Of each service that is a container: image, id, and the digests by which registries know it."""
        containers: dict[str, dict[str, Any]] = self._info["docker"]["containers"]
        return {name: {key: one[key] for key in ("image", "id", "digests")} for name, one in containers.items()}

    def disk_dir(self, service: str) -> Path:
        """Where the file system of its own is, seen from inside its container."""
        return Path(DISK) if self.container(service) is not None else super().disk_dir(service)

    def guard(self) -> Guard:
        return _DockerGuard(self)

    def signal(self, service: str, signum: int) -> None:
        """As the base. A container is paused by SIGSTOP, goes on by SIGCONT, and SIGKILL goes to all in it."""
        if self.container(service) is None or not self.by_engine(service, signum):
            super().signal(service, signum)

    def by_engine(self, service: str, signum: int) -> bool:
        """Have the engine do to a container what this signal does to a process; False when the follower passes it on as
        it is. Raises HarnessError supervisor-refused unless it runs."""
        asked = _BY_ENGINE.get(int(signum))
        if asked is None:
            return False
        if not self.state(service)["Running"]:
            raise HarnessError("supervisor-refused", f"signal {service}: {service} is not running", "See above.")
        # one that is paused already, or ended meanwhile, says 409: both as with a process
        self.engine.call("POST", f"/containers/{self.container(service)}/{asked}", fine=(409, 500))
        return True

    def state(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container now: Running, Paused, Pid, ExitCode, OOMKilled. Raises
        HarnessError engine-refused for one that is gone."""
        found: dict[str, Any] = self.engine.call("GET", f"/containers/{self.container(service)}/json")["State"]
        return found

    def rss_bytes(self) -> dict[str, int]:
        """As the base; of a container what the engine counts, less what is only file cache."""
        containers = self._info["docker"]["containers"]
        with ThreadPoolExecutor(max(1, len(containers))) as pool:
            counted = dict(zip(containers, pool.map(self._resident, containers), strict=True))
        return super().rss_bytes() | {name: size for name, size in counted.items() if size is not None}

    def _resident(self, service: str) -> int | None:
        path, query = f"/containers/{self.container(service)}/stats", {"stream": False, "one-shot": True}
        try:
            memory = self.engine.call("GET", path, query=query).get("memory_stats") or {}
        except HarnessError:
            return None
        if "usage" not in memory:
            return None
        return int(memory["usage"]) - int(memory.get("stats", {}).get("inactive_file", 0))

    def close(self) -> None:
        super().close()
        if self._launched is not None and self._run is not None:
            self._run.close()


class _DockerGuard(Guard):
    """Asks the engine where the supervisor would ask the kernel: it knows the followers alone."""

    def __init__(self, stack: DockerStack) -> None:
        super().__init__(stack.id)
        self._stack = stack

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        service = arguments.get("name")
        if service is None or self._stack.container(service) is None:
            return super().ask(op, **arguments)
        if op == "signal" and self._stack.by_engine(service, int(arguments["signal"])):
            return {}
        if op == "stopped":
            state = self._stack.state(service)
            if not state["Running"]:
                raise HarnessError("supervisor-refused", f"{op} {service}: {service} is not running", "See above.")
            return {"stopped": state["Paused"]}
        return super().ask(op, **arguments)
