"""From a stack file to units whose stores and watchers are containers; the rest are processes, as locally."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.model.stackfile import StackFile
from harness.stack.bringup import Overrides, build_units, needs_of, probe_of, spawner_of
from harness.stack.control import Control
from harness.stack.docker.built import Built
from harness.stack.docker.containers import Containers, Made, Wanted
from harness.stack.docker.engine import Engine
from harness.stack.docker.guardian import Guardian
from harness.stack.docker.images import image_of
from harness.stack.docker.services import DECLARED
from harness.stack.docker.services.declared import Rendered, Told
from harness.stack.docker.view import DIRECTORY, Inside
from harness.stack.layout import Layout
from harness.stack.services.recipe import Command, Plan
from harness.stack.units import Probe, ServiceUnit, Spawner, Status, Unit

RELAY = "relay"  # its name among the processes
TOKEN = "token"  # the file in the stack's directory
# of the environment that processes have, what the same program wants in a container
_SAME_ENV = ("LANG", "PYTHONUNBUFFERED", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
T = TypeVar("T")


def refuse_remote(engine: Engine) -> None:
    """Raises HarnessError engine-not-local (not-validated) for an engine that is reached over a network: containers see
    files of this machine, and reach its processes."""
    if not engine.host.startswith("unix://"):
        raise not_local(f"it is reached at {engine.host}")


def not_local(how: str) -> HarnessError:
    return HarnessError(
        "engine-not-local",
        f"the Docker engine does not run on this machine itself: {how}; its containers could see no file and reach no "
        "process of it",
        "Run the harness where the engine is, or use --runtime local.",
        outcome=Outcome.NOT_VALIDATED,
    )


def contained(file: StackFile) -> dict[str, Mapping[str, int]]:
    """The services of a stack that are containers: their ports by name, as they are inside."""
    return {
        name: DECLARED[one.use].ports
        for name, one in file.spec.services.items()
        if one.use is not None and one.use in DECLARED
    }


def inside(layout: Layout, app: str) -> Inside:
    """The view that the containers of a stack have. app: container | process, what the services of its image are. Those
    listen inside at the port at which they are published."""
    image = layout.file.spec.image
    own = image.services if image is not None and app == "container" else ()
    ports = contained(layout.file) | {name: layout.ports[name] for name in own if name in layout.ports}
    return Inside(layout, ports)


class AwaitingUnit(ServiceUnit):
    """A service whose process cannot be started before something on the engine is made: it waits for that, and keeps
    nobody else waiting."""

    def __init__(
        self,
        name: str,
        needs: frozenset[str],
        timeout: float,
        spawner: Spawner,
        make: Callable[[], Future[T]],
        command: Callable[[T], Command],
        probe: Probe | None,
    ) -> None:
        """make: called when it begins; what is made may have been begun long before."""
        super().__init__(name, needs, timeout, spawner, lambda: Plan(command(self._made.result())), probe)
        self._make = make
        self._waits = True

    def begin(self) -> None:
        Unit.begin(self)
        self._made = self._make()

    def poll(self, status: Status) -> bool:
        """Raises HarnessError too: what the engine would not do."""
        if not self._waits:
            return super().poll(status)
        if self._made.done():
            self._waits = False
            super().begin()
        else:
            self.check_time()
        return False


class DockerRun:
    """The containers of a stack that is being brought up, from the supervisor's start on.

    Everything raises HarnessError engine-refused, engine-lost, image-unavailable, guardian-failed, engine-not-local.
    """

    def __init__(
        self,
        engine: Engine,
        layout: Layout,
        control: Control,
        python: str,
        *,
        lease: bool,
        image: Built | None = None,
    ) -> None:
        """image: what the services of the stack's own run in; None where they are processes."""
        refuse_remote(engine)
        self.engine = engine
        self._layout = layout
        self._control = control
        self._python = python
        self._guardian = Guardian(layout.directory.name, control.supervisor_pid, python)
        self._containers = Containers(engine, layout.directory.name, control.supervisor_pid, leased=lease)
        self._view = inside(layout, "process" if image is None else "container")
        self._image = image
        self._made: dict[str, Future[Made]] = {}
        self._token = secrets.token_urlsafe(24)
        assert layout.token is not None
        layout.token.touch(mode=0o600)
        layout.token.write_text(self._token + "\n")
        if image is not None:  # its containers bring spans, so that others' could: what brings some shows the token
            layout.sender_env = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{self._token}"}

    def units(self, isolation: str, overrides: Overrides) -> list[Unit]:
        """All units of the stack. The containers are being made from here on."""
        layout, control, python = self._layout, self._control, self._python

        def elsewhere(name: str, spawner: Spawner) -> Unit | None:
            service = layout.services[name]
            if name not in self._view.ports:
                return None
            probe = probe_of(layout, name, python, isolation)
            if service.use is None:
                wanted = self._commanded(name, spawner.directory, overrides)
                make, to_host = partial(self._make, name, wanted), True  # once the artefacts that it mounts are there
            else:
                made = self._make(name, self._wanted(name, spawner.directory, overrides))
                make, to_host = partial(_given, made), DECLARED[service.use].to_host
            needs = needs_of(layout, name) | ({RELAY} if to_host else frozenset())
            return AwaitingUnit(name, needs, service.timeout, spawner, make, self._follower, probe)

        units = build_units(layout, control, python, isolation, overrides, elsewhere)
        return [*units, self._relay(spawner_of(layout, RELAY, control, python, {}))]

    def info(self) -> dict[str, Any]:
        """What stack.json keeps of it."""
        made = {name: one.result() for name, one in self._made.items()}
        return {
            "host": self.engine.host,
            "version": self.engine.version,
            "network": self._containers.network_name,
            "gateway": self._containers.network.result(),
            "containers": {
                name: {"name": one.name, "image": one.image, "id": one.image_id, "digests": list(one.digests)}
                for name, one in made.items()
            },
        }

    def settled(self) -> None:
        """Wait until nothing more is being made."""
        self._containers.close()

    def close(self) -> None:
        """When the supervisor has ended: wait until nothing of it is left on the engine. May be called again. Raises
        HarnessError stack-lingers."""
        self._containers.close()
        self._guardian.close()

    def _follower(self, made: Made) -> Command:
        argv = (self._python, "-S", "-m", "harness.stack.docker.follower", made.name)
        return Command(argv, {"DOCKER_HOST": self.engine.host})

    def _wanted(self, name: str, directory: Path, overrides: Overrides) -> Wanted:
        layout = self._layout
        service = layout.services[name]
        assert service.use is not None
        declared = DECLARED[service.use]
        told = Told(
            name=name,
            directory=directory,
            stack_id=layout.directory.name,
            scale=layout.file.spec.timeScale,
            config=None if service.config is None else layout.root / service.config,
            scrape=self._view.scrape() if service.use == "prometheus" else {},
            peers=self._view.peers(name),
            token=self._token,
            has_disk=service.disk is not None,
        )
        env = self._view.env(name) | dict(overrides.get(name, {}))
        published = {inner: layout.ports[name][port] for port, inner in declared.ports.items()}
        image, rendered = image_of(service.use), declared.render(told)
        return Wanted(name, image, rendered, env, published, service.disk, declared.shm_bytes, declared.security)

    def _commanded(self, name: str, directory: Path, overrides: Overrides) -> Wanted:
        """A command or job of the stack file's own."""
        assert self._image is not None
        layout, view = self._layout, self._view
        usual = layout.base_env(name, self._python)
        env = {key: usual[key] for key in (*_SAME_ENV, *layout.sender_env)}
        env |= view.env(name) | dict(overrides.get(name, {}))
        rendered = Rendered(view.command(name), {}, view.artefacts(name))
        published = {port: port for port in layout.ports[name].values()}
        return Wanted(name, self._image.name, rendered, env, published, writable={directory: DIRECTORY}, init=True)

    def _make(self, name: str, wanted: Wanted) -> Future[Made]:
        self._made[name] = made = self._containers.make(wanted)
        return made

    def _relay(self, spawner: Spawner) -> ServiceUnit:
        config, ready = spawner.directory / "relay.json", spawner.directory / "ready"

        def command(listen: str) -> Command:
            _check_ours(listen)
            config.write_bytes(orjson.dumps({"listen": listen, "ports": sorted(self._view.asked)}))
            return Command((self._python, "-S", "-m", "harness.stack.docker.relay", str(config), str(ready)))

        def probe() -> str | None:
            return "" if ready.exists() else None

        make = partial(_given, self._containers.network)
        return AwaitingUnit(RELAY, frozenset(), 60.0, spawner, make, command, probe)


def _given(made: Future[T]) -> Future[T]:
    return made


def _check_ours(address: str) -> None:
    """Raises HarnessError engine-not-local when this machine has no such address."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise not_local(f"the gateway {address} of its network is no address of this machine ({error})") from error
