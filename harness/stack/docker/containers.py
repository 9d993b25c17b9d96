"""The containers of one stack on an engine, made by testcontainers: all at once, before anything is started."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.stack.docker.engine import Engine
from harness.stack.docker.images import hub_prefix
from harness.stack.docker.labels import SERVICE, labels
from harness.stack.docker.lazy import load
from harness.stack.docker.services.declared import DISK, Rendered
from harness.stack.docker.view import HOST

LOOPBACK = "127.0.0.1"
REAPER_OFFERED = 5.0  # seconds for a registry to say that it has the reaper's image
LOG = {"max-size": "16m", "max-file": "1"}  # the engine's own copy; the stack's log is the follower's


@dataclass(frozen=True)
class Wanted:
    """One container to be made. image: as the engine is asked for it; published: port in the container -> port of the
    loopback; disk: bytes of a file system of its own, None for none; writable: directories on this machine -> where
    they are seen inside; init: whether a first process is wanted that is not the service, which would miss signals."""

    service: str
    image: str
    rendered: Rendered
    env: Mapping[str, str]
    published: Mapping[int, int]
    disk: int | None = None
    shm_bytes: int | None = None
    security: tuple[str, ...] = ()
    writable: Mapping[Path, str] = field(default_factory=dict)
    init: bool = False


@dataclass(frozen=True)
class Made:
    """name: of the container; image: the name that was asked for, id: of what it is; digests: by which registries know
    it, often none."""

    name: str
    image: str
    image_id: str
    digests: tuple[str, ...]


class Containers:
    """Makes network and containers, in threads of its own. What it makes carries the labels of `stack_id`, and is for
    the guardian to remove."""

    def __init__(self, engine: Engine, stack_id: str, supervisor_pid: int, *, leased: bool) -> None:
        """leased: it lives no longer than this process, so testcontainers' own reaper may look after it too."""
        self.engine = engine
        self._id = stack_id
        self._labels = labels(stack_id, supervisor_pid)
        self._leased = leased
        self._network: Any = None  # testcontainers' own
        self._pool = ThreadPoolExecutor(10, thread_name_prefix="containers")
        self.network: Future[str] = self._pool.submit(self._made_network)  # its gateway, once it is there

    @property
    def network_name(self) -> str:
        return f"slo-harness-{self._id}"

    def name(self, service: str) -> str:
        return f"slo-harness-{self._id}-{service}"

    def make(self, wanted: Wanted) -> Future[Made]:
        """Make a container, which is not started. Its future raises HarnessError image-unavailable, engine-refused."""
        return self._pool.submit(self._made, wanted)

    def close(self) -> None:
        """Wait until nothing more is asked of the engine."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _made_network(self) -> str:
        self._use_reaper()
        network = self._network = load("testcontainers.core.network").Network(
            self._client(), {"labels": self._labels, "driver": "bridge"}
        )
        network.name = self.network_name
        with refusals(f"the network {self.network_name}"):
            network.create()
        known = self.engine.call("GET", f"/networks/{self.network_name}")
        gateways = [one["Gateway"] for one in known["IPAM"]["Config"] if "." in one.get("Gateway", "")]
        if not gateways:
            cause = f"the network {self.network_name} has no IPv4 gateway: {known['IPAM']}"
            raise HarnessError("engine-refused", cause, "Look at the engine's default address pools.")
        return str(gateways[0].partition("/")[0])

    def _made(self, wanted: Wanted) -> Made:
        image = self._image(wanted.image)
        gateway = self.network.result()
        volumes = {str(path): (where, "ro") for path, where in wanted.rendered.mounts.items()}
        if wanted.disk is not None:
            volumes[self._disk(wanted)] = (DISK, "rw")
        for path in wanted.rendered.mounts:
            _open_to_all(path)
        for path, where in wanted.writable.items():
            path.chmod(0o1777)  # whoever the user inside is; on this machine the stack's directory above is closed
            volumes[str(path)] = (where, "rw")
        container = self._container(wanted, volumes).with_command(list(wanted.rendered.command))
        container.with_envs(**{**wanted.rendered.env, **wanted.env})
        container.with_network(self._network).with_network_aliases(wanted.service)
        container.ports = {f"{inner}/tcp": (LOOPBACK, outer) for inner, outer in wanted.published.items()}
        container.with_kwargs(
            **self._usual(wanted),
            extra_hosts={HOST: gateway},
            hostname=wanted.service,
            security_opt=list(wanted.security),
            shm_size=wanted.shm_bytes,
            init=wanted.init,
            healthcheck={"test": ["NONE"]},  # the harness asks for itself
        )
        with refusals(f"the container of {wanted.service}"):
            container.start()  # only made: see _left_alone
        return Made(self.name(wanted.service), wanted.image, image["Id"], tuple(image["RepoDigests"] or ()))

    def _container(self, wanted: Wanted, volumes: Mapping[str, tuple[str, str]], *, started: bool = False) -> Any:
        core = load("testcontainers.core.container")
        container = core.DockerContainer(wanted.image, docker_client_kw=self._client())
        container.image = wanted.image  # which has the registry prefix, where it is of a registry
        if not started:
            container._docker.start = _left_alone
        for what, (where, mode) in volumes.items():
            container.with_volume_mapping(what, where, mode)
        return container.with_name(self.name(wanted.service))

    def _usual(self, wanted: Wanted) -> dict[str, Any]:
        log = load("docker.types").LogConfig(type="json-file", config=LOG)
        return {"labels": {**self._labels, SERVICE: wanted.service}, "log_config": log}

    def _disk(self, wanted: Wanted) -> str:
        """A volume in memory, of a size. It is lost when nobody has it mounted, which a store that is killed would do:
        so a container that does nothing has it too."""
        name = f"{self.name(wanted.service)}-disk"
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={wanted.disk},mode=1777"}
        body = {"Name": name, "Driver": "local", "DriverOpts": options, "Labels": self._labels}
        self.engine.call("POST", "/volumes/create", body)
        holder = self._container(wanted, {name: (DISK, "rw")}, started=True).with_name(f"{name}-holder")
        holder.with_command(["infinity"])
        holder.with_kwargs(
            **self._usual(wanted), entrypoint=["sleep"], network_mode="none", healthcheck={"test": ["NONE"]}
        )
        with refusals(f"what holds the disk of {wanted.service}"):
            holder.start()
        return name

    def _image(self, name: str) -> dict[str, Any]:
        image = self.engine.image(name)
        if image is None:
            self.engine.pull(name)
            image = self.engine.image(name)
        if image is None:
            raise HarnessError("image-unavailable", f"{name} was pulled, and is not there", "Pull it by hand.")
        return image

    def _use_reaper(self) -> None:
        """Testcontainers' reaper removes what this process made as soon as it ends: not for a stack that is to stay.
        Where its image is not to be had, the guardian does without it."""
        config = load("testcontainers.core.config").testcontainers_config
        if config.ryuk_disabled:
            return
        config.ryuk_disabled = not self._leased or not self._has_reaper(config.ryuk_image)
        if not config.ryuk_disabled:
            with refusals("testcontainers' reaper (TESTCONTAINERS_RYUK_DISABLED=true does without it)"):
                load("testcontainers.core.container").Reaper.get_instance()  # once, before threads would

    def _has_reaper(self, image: str) -> bool:
        name = hub_prefix() + image
        if self.engine.image(name) is None:
            if self.engine.can_pull(name, timeout=REAPER_OFFERED):
                return False
            self.engine.pull(name)
        return True

    def _client(self) -> dict[str, Any]:
        return {"environment": {"DOCKER_HOST": self.engine.host}}


def _left_alone(_: object) -> None:
    """In place of starting a container that was made: its follower does, when all that it needs is ready."""


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """What docker and testcontainers raise of themselves, as HarnessError engine-refused and engine-lost."""
    docker, requests = load("docker.errors"), load("requests.exceptions")
    try:
        yield
    except docker.DockerException as error:
        cause = f"{what} could not be made: {getattr(error, 'explanation', None) or error}"
        raise HarnessError("engine-refused", cause, "Look at the engine's log.") from error
    except (requests.RequestException, OSError, RuntimeError) as error:  # what testcontainers raises of itself, too
        raise HarnessError("engine-lost", f"{what} could not be made: {error}", "See whether it runs.") from error


def _open_to_all(path: Path) -> None:
    """Readable for the user in the container, whoever that is. The stack's directory above is closed to others."""
    for one in (path, *(path.rglob("*") if path.is_dir() else ())):
        readable = 0o555 if one.is_dir() else 0o444
        one.chmod(stat.S_IMODE(one.stat().st_mode) | readable)
