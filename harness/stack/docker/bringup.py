"""From a stack file to units whose stores and watchers are containers; the rest are processes, as locally."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import orjson

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.model.stackfile import StackFile
from harness.stack.bringup import Overrides, build_units, needs_of, probe_of, spawner_of
from harness.stack.control import Control
from harness.stack.docker.containers import Containers, Made, Wanted
from harness.stack.docker.engine import Engine
from harness.stack.docker.guardian import Guardian
from harness.stack.docker.services import DECLARED
from harness.stack.docker.services.declared import Told
from harness.stack.docker.view import Inside
from harness.stack.layout import Layout
from harness.stack.services.recipe import Command, Plan
from harness.stack.units import Probe, ServiceUnit, Spawner, Status, Unit

RELAY = "relay"  # its name among the processes
TOKEN = "token"  # the file in the stack's directory
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


class AwaitingUnit(ServiceUnit):
    """A service whose process cannot be started before something on the engine is made: it waits for that, and keeps
    nobody else waiting."""

    def __init__(
        self,
        name: str,
        needs: frozenset[str],
        timeout: float,
        spawner: Spawner,
        made: Future[T],
        command: Callable[[T], Command],
        probe: Probe | None,
    ) -> None:
        super().__init__(name, needs, timeout, spawner, lambda: Plan(command(made.result())), probe)
        self._made = made
        self._waits = True

    def begin(self) -> None:
        Unit.begin(self)

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

    def __init__(self, engine: Engine, layout: Layout, control: Control, python: str, *, lease: bool) -> None:
        refuse_remote(engine)
        self.engine = engine
        self._layout = layout
        self._control = control
        self._python = python
        self._guardian = Guardian(layout.directory.name, control.supervisor_pid, python)
        self._containers = Containers(engine, layout.directory.name, control.supervisor_pid, leased=lease)
        self._view = Inside(layout, contained(layout.file))
        self._made: dict[str, Future[Made]] = {}
        self._token = secrets.token_urlsafe(24)
        assert layout.token is not None
        layout.token.touch(mode=0o600)
        layout.token.write_text(self._token + "\n")

    def units(self, isolation: str, overrides: Overrides) -> list[Unit]:
        """All units of the stack. The containers are being made from here on."""
        layout, control, python = self._layout, self._control, self._python

        def elsewhere(name: str, spawner: Spawner) -> Unit | None:
            service = layout.services[name]
            if name not in self._view.ports:
                return None
            assert service.use is not None
            declared = DECLARED[service.use]
            self._made[name] = self._containers.make(self._wanted(name, spawner.directory, overrides))
            needs = needs_of(layout, name) | ({RELAY} if declared.to_host else frozenset())
            probe = probe_of(layout, name, python, isolation)
            made = self._made[name]
            return AwaitingUnit(name, needs, service.timeout, spawner, made, self._follower, probe)

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
        return Wanted(name, service.use, declared, declared.render(told), env, published, service.disk)

    def _relay(self, spawner: Spawner) -> ServiceUnit:
        config, ready = spawner.directory / "relay.json", spawner.directory / "ready"

        def command(listen: str) -> Command:
            _check_ours(listen)
            config.write_bytes(orjson.dumps({"listen": listen, "ports": sorted(self._view.asked)}))
            return Command((self._python, "-S", "-m", "harness.stack.docker.relay", str(config), str(ready)))

        def probe() -> str | None:
            return "" if ready.exists() else None

        return AwaitingUnit(RELAY, frozenset(), 60.0, spawner, self._containers.network, command, probe)


def _check_ours(address: str) -> None:
    """Raises HarnessError engine-not-local when this machine has no such address."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise not_local(f"the gateway {address} of its network is no address of this machine ({error})") from error
