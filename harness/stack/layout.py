"""Where everything of one stack is: ports, links, directories, and what the placeholders of stack.yaml stand for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import harness
from harness.model.stackfile import Service, StackFile
from harness.stack import procfs
from harness.stack.availability import Unavailable
from harness.stack.ports import PortBlock, fixed_port
from harness.stack.services import RECIPES

HOST = "127.0.0.1"
LINKS = "links"  # the name of the links' proxy among the services


@dataclass
class Layout:
    """Assignments of one stack. ports: service -> port name -> number; links: name -> number of the near end;
    unavailable: services that this machine cannot run, which have ports all the same, where nobody listens; token: the
    file with what a sink that others can reach wants to see, None where none is; sender_env: what makes a process show
    it to the sink for spans, empty where that does not ask."""

    file: StackFile
    root: Path
    directory: Path
    ports: Mapping[str, Mapping[str, int]]
    links: Mapping[str, int]
    artefacts: dict[str, Path] = field(default_factory=dict)
    unavailable: Mapping[str, Unavailable] = field(default_factory=dict)
    token: Path | None = None
    sender_env: dict[str, str] = field(default_factory=dict)

    def port(self, ref: str) -> int:
        """The number of SERVICE.PORT. Raises KeyError."""
        service, _, port = ref.partition(".")
        return self.ports[service][port]

    def address(self, ref: str) -> str:
        return f"{HOST}:{self.port(ref)}"

    @property
    def services(self) -> dict[str, Service]:
        """The services that can be had here, by name, in the order of the file."""
        return {name: one for name, one in self.file.spec.services.items() if name not in self.unavailable}

    def scrape(self) -> dict[str, str]:
        """Prometheus job -> host:port of its only target, for the services that can be had here."""
        jobs = self.file.spec.scrape.items()
        return {job: self.address(ref) for job, ref in jobs if ref.partition(".")[0] in self.services}

    def link(self, name: str) -> str:
        return f"{HOST}:{self.links[name]}"

    @property
    def links_control(self) -> Path:
        """The unix socket on which the links' proxy takes orders."""
        return self.directory / LINKS / "control"

    def service_dir(self, name: str) -> Path:
        return self.directory / name

    def disk_dir(self, name: str) -> Path:
        """Where the file system is that `disk` gives a service: in the stack's own mount namespace alone."""
        return self.service_dir(name) / "disk"

    def log_path(self, name: str) -> Path:
        return self.directory / name / f"{name}.log"

    def values(self, service: str) -> dict[str, str]:
        """What each placeholder stands for in the texts of a service."""
        values = {
            "dir": str(self.service_dir(service)),
            "scale": f"{self.file.spec.timeScale:g}",
            "unavailable": ",".join(self.unavailable),
        }
        for name, ports in self.ports.items():
            for port, number in ports.items():
                values[f"address:{name}.{port}"] = f"{HOST}:{number}"
                values[f"port:{name}.{port}"] = str(number)
        values |= {f"link:{name}": self.link(name) for name in self.links}
        return values | {f"artefact:{name}": str(path) for name, path in self.artefacts.items()}

    def base_env(self, service: str, python: str) -> dict[str, str]:
        """A small, clean environment: nothing of the caller's but PATH gets into the system under test."""
        package = Path(harness.__file__).resolve().parent.parent
        cpus = len(os.sched_getaffinity(0))
        return {
            "PATH": os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(self.directory),
            "TMPDIR": str(self.service_dir(service) / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(self.root), str(package)])),
            "PYTHONUNBUFFERED": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "GOMAXPROCS": str(min(4, cpus)),
            procfs.MARK: self.directory.name,
            **self.sender_env,
        }


def all_ports(service: Service, runtime: str = "local") -> tuple[str, ...]:
    """The ports that a service listens on, private ones too; a container has no private ones on this machine."""
    return RECIPES[service.use].ports if service.use is not None and runtime == "local" else service.port_names


def fixed_ports(file: StackFile) -> dict[tuple[str, str], int]:
    """The ports that stack.yaml fixes, each seen to be free. Raises HarnessError port-taken."""
    return {
        (name, port): fixed_port(name, port, number)
        for name, service in file.spec.services.items()
        for port, number in service.fixed_ports.items()
    }


def assign(
    file: StackFile, fixed: Mapping[tuple[str, str], int], block: PortBlock, runtime: str = "local"
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Numbers for the ports of all services and links: the fixed ones, and the rest from the block."""
    ports = {
        name: {port: fixed.get((name, port)) or block.take() for port in all_ports(service, runtime)}
        for name, service in file.spec.services.items()
    }
    return ports, {name: block.take() for name in file.spec.links}


def ports_needed(file: StackFile, runtime: str = "local") -> int:
    return sum(len(all_ports(one, runtime)) for one in file.spec.services.values()) + len(file.spec.links)
