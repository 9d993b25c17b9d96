"""A stack whose stores and watchers are containers: what of the handle is different."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.stack.control import Control
from harness.stack.docker.bringup import RELAY, DockerRun, inside
from harness.stack.docker.engine import Engine
from harness.stack.docker.guard import DockerGuard
from harness.stack.docker.hosts import Host
from harness.stack.docker.labels import labels
from harness.stack.docker.services.declared import DISK
from harness.stack.guard import Guard
from harness.stack.handle import Stack
from harness.stack.launch import Launched
from harness.stack.layout import Layout
from harness.stack.undo import Step

# Keeps a disk full, as harness.stack.ballast does, with what any image has that has a shell. $1 where the disk is
# mounted, $2 the file, $3 how many bytes are to stay free.
BALLAST = """
while :; do
  more=$(($(stat -f -c '%a * %S' "$1") - $3))
  [ "$more" -lt 4096 ] || head -c "$more" /dev/zero >>"$2"
  sleep 0.05
done 2>/dev/null
"""
_BY_ENGINE = {int(signal.SIGSTOP): "pause", int(signal.SIGCONT): "unpause", int(signal.SIGKILL): "kill"}


class DockerStack(Stack):
    """Handle on a running stack. Besides what its base raises, methods raise HarnessError engine-lost and
    engine-refused."""

    runtime = "docker"
    stop_slack = 8.0  # by way of follower and engine, on a busy machine
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

    def outlives(self, service: str) -> bool:
        """As the base: a container, for as long as its follower's shadow takes to kill it."""
        return self.container(service) is not None and bool(self.state(service)["Running"])

    def disk_holder(self, service: str) -> str:
        """The name of the container that does nothing but keep a service's disk, mounted at `disk_dir`, where it can be
        looked into and written to."""
        return f"{self.container(service)}-disk-holder"

    @property
    def images(self) -> dict[str, dict[str, Any]]:
        containers: dict[str, dict[str, Any]] = self._info["docker"]["containers"]
        return {name: {key: one[key] for key in ("image", "id", "digests")} for name, one in containers.items()}

    def scrape(self) -> dict[str, str]:
        """As the base, by the addresses that Prometheus knows in its container."""
        return inside(self._layout, self.app).scrape()

    def disk_dir(self, service: str) -> Path:
        """Where the file system of its own is, seen from inside its container."""
        return Path(DISK) if self.container(service) is not None else super().disk_dir(service)

    def ballast(self, service: str, file: str, spare: int) -> dict[str, Any]:
        """As the base. Of a container it is another one, which is made here, with the same disk."""
        if self.container(service) is None:
            return super().ballast(service, file, spare)
        name = f"{self.container(service)}-ballast"
        self.engine.remove_container(name)
        body = {
            "Image": self._info["docker"]["containers"][service]["image"],
            "Entrypoint": ["sh", "-c", BALLAST, "sh", str(self.disk_dir(service)), file, str(spare)],
            "User": "0",
            "Labels": labels(self.id, self._control.supervisor_pid),
            "HostConfig": {"NetworkMode": "none", "VolumesFrom": [self.disk_holder(service)]},
        }
        self.engine.call("POST", "/containers/create", body, query={"name": name})
        spec = self.undo_program("harness.stack.docker.follower", name)
        return spec | {"env": spec["env"] | {"DOCKER_HOST": self.engine.host}}

    def emptied(self, service: str, file: str) -> Step:
        """As the base."""
        if self.container(service) is None:
            return super().emptied(service, file)
        ballast = f"{self.container(service)}-ballast"
        arguments = (self.engine.host, self.disk_holder(service), ballast, file)
        return self.undo_program("harness.stack.docker.emptied", *arguments)

    def guard(self) -> Guard:
        return DockerGuard(self)

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
        try:
            super().close()
        finally:
            if self._launched is not None and self._run is not None:
                self._run.close()
