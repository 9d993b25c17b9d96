"""A stack that is up, as command, gate and tests hold it."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, UsageError
from harness.stack import procfs
from harness.stack.bringup import probe_of
from harness.stack.control import Control
from harness.stack.guard import Guard
from harness.stack.launch import Launched
from harness.stack.layout import LINKS, Layout
from harness.stack.links import Links
from harness.stack.services import RECIPES
from harness.stack.undo import Step
from harness.stack.units import ending, tail

SUPERVISOR = "supervisor"
PATIENCE = 3.0  # seconds for a service that runs to answer a probe


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service. state: healthy (runs, and was ready) | done (a job) | stopped (asked) | exited (unasked) | lost |
    unavailable (cannot be had on this machine).

    pid: as seen from here, None unless it runs; healthy: seconds from the start of the stack until it was ready;
    version: what the server itself reports, '' if nothing; addresses: host:port of the ports others may name.
    """

    name: str
    state: str
    pid: int | None
    exit_code: int | None
    healthy: float
    version: str
    restarts: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceDied:
    """A process that ended unasked. how: in words; exit_code: or minus the signal; log: its last lines."""

    service: str
    how: str
    exit_code: int
    wall_ns: int
    log: str


class Stack:
    """Handle on a running stack. Methods raise HarnessError stack-lost when its supervisor is gone, unless they say
    otherwise, and UsageError service-unknown for a name that is not in the stack file."""

    runtime = "local"
    stop_slack = 0.0  # seconds that a stop signal may be on its way
    processes: tuple[str, ...] = (LINKS,)  # of the runtime's own, without which no service is what it was

    def __init__(
        self, layout: Layout, control: Control, info: dict[str, Any], *, launched: Launched | None, reused: bool
    ) -> None:
        self.id: str = info["id"]
        self.name: str = info["name"]
        self.app: str = info["app"]  # process | container: what the services of its own commands are
        self.isolation: str = info["isolation"]  # pidns | userns | subreaper
        self.file = layout.file
        self.root = layout.root  # the directory of stack.yaml
        self.directory = layout.directory
        self.scale = layout.file.spec.timeScale
        self.reused = reused
        self.unavailable = layout.unavailable
        self._layout = layout
        self._control = control
        self._info = info
        self._launched = launched

    def address(self, ref: str) -> str:
        """host:port of SERVICE.PORT."""
        try:
            return self._layout.address(ref)
        except KeyError:
            raise UsageError("service-unknown", f"no port {ref!r} in the stack", "See stack.yaml.") from None

    def link(self, name: str) -> str:
        """host:port of the near end of a link."""
        if name not in self._layout.links:
            raise UsageError("service-unknown", f"no link {name!r} in the stack", "See stack.yaml.")
        return self._layout.link(name)

    @property
    def links(self) -> Links:
        """All links, for faults to be set on them."""
        return Links(self._layout.links_control, self._layout.links)

    @property
    def images(self) -> dict[str, dict[str, Any]]:
        """Of each service that is a container: image, id, and the digests by which registries know it."""
        return {}

    def guard(self) -> Guard:
        """A connection of its own to the undo list, for a fault."""
        return Guard(self.id)

    def undo_program(self, module: str, *arguments: str) -> dict[str, Any]:
        """An undo step that runs `python -m module arguments` inside the stack; it must end with 0."""
        python = self._info["python"]
        return {
            "do": "run",
            "argv": [python, "-m", module, *arguments],
            "env": self._layout.base_env("undo", python) | {"TMPDIR": str(self.directory)},
            "cwd": str(self.directory),
            "log": str(self.directory / "undo.log"),
        }

    def container(self, service: str) -> str | None:
        """The name of a service's container; None for a service that is a process."""
        self._known(service)
        return None

    def outlives(self, service: str) -> bool:
        """Whether something of a service still runs though its process has ended."""
        self._known(service)
        return False

    def ballast(self, service: str, file: str, spare: int) -> dict[str, Any]:
        """The program that keeps a service's disk full by `file`, but for `spare` bytes, until it is killed: argv, env,
        cwd and log, as the supervisor starts it."""
        return self.undo_program("harness.stack.ballast", file, str(spare))

    def emptied(self, service: str, file: str) -> Step:
        """The undo step that removes the file that a killed ballast leaves."""
        return {"do": "remove", "path": file}

    def artefact(self, name: str) -> Path:
        """The directory of a built artefact."""
        if name not in self._layout.artefacts:
            raise UsageError("service-unknown", f"no artefact {name!r} in the stack", "See stack.yaml.")
        return self._layout.artefacts[name]

    def metrics_url(self, service: str) -> str:
        """Where a service exports its metrics."""
        self._known(service)
        one = self.file.spec.services[service]
        if one.metrics is not None:
            return f"http://{self.address(f'{service}.{one.metrics.port}')}{one.metrics.path}"
        recipe = RECIPES[one.use] if one.use is not None else None
        if recipe is None or recipe.metrics is None:
            raise UsageError("service-unknown", f"{service} declares no metrics", "Add `metrics: {port: ...}`.")
        return f"http://{self.address(f'{service}.{recipe.metrics[0]}')}{recipe.metrics[1]}"

    def scrape(self) -> dict[str, str]:
        """Prometheus job -> host:port, for each job whose service can be had here."""
        return self._layout.scrape()

    def service_dir(self, service: str) -> Path:
        """The directory that ${dir} stands for."""
        self._known(service)
        return self._layout.service_dir(service)

    def disk_dir(self, service: str) -> Path:
        """Where the file system of its own is, seen from inside the stack."""
        self._known(service)
        return self._layout.disk_dir(service)

    def log_path(self, service: str) -> Path:
        """What the service wrote to its standard output and error."""
        self._known(service)
        return self._layout.log_path(service)

    def log_tail(self, service: str, lines: int = 20) -> str:
        """The last lines of its log; '' if there is none."""
        return tail(self.log_path(service), lines)

    def services(self) -> list[ServiceStatus]:
        """All services in the order of the stack file. Never raises: without a supervisor all are `lost`."""
        try:
            processes = self._control.ask("status")["processes"]
        except HarnessError:
            processes = {}
        running = {one["pid"] for one in processes.values() if one["state"] == "running"}
        outside = procfs.outside_pids(running, self._control.supervisor_pid)
        return [self._status(name, processes.get(name), outside) for name in self.file.spec.services]

    def _status(self, name: str, process: dict[str, Any] | None, outside: dict[int, int]) -> ServiceStatus:
        service = self.file.spec.services[name]
        if name in self.unavailable:
            return ServiceStatus(name, "unavailable", None, None, 0.0, "", 0, ())
        ready = self._info["ready"][name]
        is_job = service.job is not None
        addresses = tuple(self.address(f"{name}.{port}") for port in service.port_names)
        version = "" if is_job else ready["detail"]
        if process is None:
            return ServiceStatus(name, "lost", None, None, ready["seconds"], version, 0, addresses)
        if process["state"] == "running":
            state = "healthy"
        elif is_job and process["code"] == 0:
            state = "done"
        else:
            state = "stopped" if process["asked"] else "exited"
        pid = outside.get(process["pid"]) if process["state"] == "running" else None
        restarts, code = process["restarts"], process["code"]
        return ServiceStatus(name, state, pid, code, ready["seconds"], version, restarts, addresses)

    def healthy(self) -> bool:
        """Whether every service that can be had runs and answers, every job had its end, and no fault is left. One that
        does not answer at once is asked again for a while: on a busy machine that is no reason to give a stack up."""
        if self.not_undone():
            return False
        waiting = [probe_of(self._layout, name, "", self.isolation) for name in self._layout.services]
        until = time.monotonic() + PATIENCE
        while all(one.state in ("healthy", "done", "unavailable") for one in self.services()):
            waiting = [probe for probe in waiting if probe is not None and probe() is None]
            if not waiting or time.monotonic() > until:
                return not waiting
            time.sleep(0.1)
        return False

    def not_undone(self) -> list[str]:
        """Faults whose undo failed: what, and how. What is measured on such a stack is worth nothing."""
        entries = self._control.ask("undo-list")["entries"]
        return [f"{one['label']}: {'; '.join(one['errors'])}" for one in entries if one["state"] == "failed"]

    def died(self) -> list[ServiceDied]:
        """What exited unasked since the stack became ready: services, and what stands between them. `stop_service`
        asks; a `signal` does not. Never raises: a lost supervisor is itself the one that died."""
        try:
            exits = self._control.ask("status")["exits"]
        except HarnessError as error:
            return [ServiceDied(SUPERVISOR, f"was lost: {error.cause}", -int(signal.SIGKILL), time.time_ns(), "")]
        names = {*self.file.spec.services, *self.processes}
        return [
            ServiceDied(
                one["name"], ending(one["code"]), one["code"], one["wall_ns"], tail(self._layout.log_path(one["name"]))
            )
            for one in exits
            if one["name"] in names and not one["asked"] and one["wall_ns"] > self._info["ready_wall_ns"]
        ]

    def signal(self, service: str, signum: int) -> None:
        """Send a signal to the main process of a service. Raises HarnessError supervisor-refused unless it runs."""
        self._known(service)
        self._control.ask("signal", name=service, signal=int(signum))

    def stop_service(self, service: str) -> None:
        """End a service, and wait until it has ended. Raises HarnessError supervisor-refused unless it runs."""
        self._known(service)
        use = self.file.spec.services[service].use
        recipe = RECIPES[use] if use is not None else None
        signum, grace = (recipe.stop_signal, recipe.grace) if recipe else (signal.SIGTERM, 5.0)
        grace += self.stop_slack
        self._control.ask("stop", name=service, signal=int(signum), grace=grace)
        until = time.monotonic() + grace + 10
        while self._control.ask("status")["processes"][service]["state"] == "running" or self.outlives(service):
            if time.monotonic() > until:
                raise HarnessError("service-lingers", f"{service} outlives SIGKILL", "Look at what it waits for.")
            time.sleep(0.01)

    def start_service(self, service: str) -> None:
        """Start a service that has ended, as it was started first, and wait until it is ready (a job: has ended).

        Raises HarnessError supervisor-refused when it runs, service-failed when it does not become ready.
        """
        self._known(service)
        self._control.ask("restart", name=service)
        self.await_ready(service)

    def is_ready(self, service: str) -> bool:
        """Whether a service answers its readiness probe now; a job, whether it has ended well."""
        self._known(service)
        probe = probe_of(self._layout, service, self._info["python"], self.isolation)
        process = self._control.ask("status")["processes"][service]
        if probe is None:
            return bool(process["state"] == "exited" and process["code"] == 0)
        return bool(process["state"] == "running") and probe() is not None

    def await_ready(self, service: str) -> None:
        """Wait until a service that was started is ready (a job: has ended). Raises HarnessError service-failed."""
        self._known(service)
        probe = probe_of(self._layout, service, self._info["python"], self.isolation)
        until = time.monotonic() + self.file.spec.services[service].timeout
        while True:
            process = self._control.ask("status")["processes"][service]
            if process["state"] == "exited":
                if probe is None and process["code"] == 0:
                    return
                raise self._not_started(service, ending(process["code"]))
            if probe is not None and probe() is not None:
                return
            if time.monotonic() > until:
                raise self._not_started(service, "was not ready in time")
            time.sleep(0.02)

    def rss_bytes(self) -> dict[str, int]:
        """Resident memory in bytes of each service with its children (shared pages by their share), of the links'
        proxy and of the supervisor. Never raises; what is gone is left out."""
        try:
            processes = self._control.ask("status")["processes"]
        except HarnessError:
            return {}
        inside = {one["pid"]: name for name, one in processes.items() if one["state"] == "running"}
        outside = procfs.outside_pids(set(inside), self._control.supervisor_pid)
        roots = {inside[own]: pid for own, pid in outside.items()}
        used = {name: sum(map(procfs.memory_bytes, pids)) for name, pids in procfs.trees(roots).items()}
        return used | {SUPERVISOR: procfs.memory_bytes(self._control.supervisor_pid)}

    def close(self) -> None:
        """End the stack if it hangs on this process, and wait until nothing is left; leave it up otherwise."""
        self._control.close()
        if self._launched is not None:
            self._launched.close()

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _known(self, service: str) -> None:
        if service not in self.file.spec.services and service not in self.processes:
            known = ", ".join(self.file.spec.services)
            raise UsageError("service-unknown", f"no service {service!r} in the stack", f"Known are: {known}.")

    def _not_started(self, service: str, how: str) -> HarnessError:
        lines = tail(self._layout.log_path(service))
        return HarnessError("service-failed", f"{service} {how}; its last lines:\n{lines}", "Look at its log.")
