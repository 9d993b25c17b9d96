"""Where everything of a stack is, as a container of it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.builtins import BUILTINS
from harness.model.template import fill, placeholders
from harness.stack.layout import Layout

HOST = "host.docker.internal"  # the machine's end of the stack's network, where the relay listens
ANY = "0.0.0.0"  # where a service in a container listens: at what others know as its name, and where it is published
DIRECTORY = "/slo/dir"  # what ${dir} of a command in a container is inside, and where its artefacts are
ARTEFACTS = "/slo/artefacts"


@dataclass
class Inside:
    """A view of `layout`. ports: service -> port name -> port in its container, for the services that are containers;
    asked: the ports of processes on the machine that somebody has asked for; they are to be relayed."""

    layout: Layout
    ports: Mapping[str, Mapping[str, int]]
    asked: set[int] = field(default_factory=set)

    def address(self, ref: str) -> str:
        """host:port of SERVICE.PORT. Raises KeyError."""
        service, _, port = ref.partition(".")
        if service in self.ports:
            return f"{service}:{self.ports[service][port]}"
        return self._relayed(self.layout.port(ref))

    def scrape(self) -> dict[str, str]:
        """Prometheus job -> host:port of its only target, for the services that can be had."""
        jobs, there = self.layout.file.spec.scrape.items(), self.layout.services
        return {job: self.address(ref) for job, ref in jobs if ref.partition(".")[0] in there}

    def peers(self, name: str) -> dict[str, str]:
        """Kind of built-in -> address of the stack's one of that kind, for those that the service works with."""
        use = self.layout.file.spec.services[name].use
        return {
            kind: self.address(f"{other}.{service.port_names[0]}")
            for kind in (BUILTINS[use].peers if use is not None else ())
            for other, service in self.layout.services.items()
            if service.use == kind
        }

    def env(self, name: str) -> dict[str, str]:
        """What stack.yaml puts into the environment of a service, as it reads inside."""
        return {key: self.filled(name, text) for key, text in self.layout.file.spec.services[name].env.items()}

    def filled(self, name: str, text: str) -> str:
        """A text of stack.yaml for a service with its placeholders filled; paths are this machine's, but for a command
        that runs in a container."""
        values = self.layout.values(name)
        commanded = name in self.ports and self.layout.file.spec.services[name].use is None
        if commanded:
            values["dir"] = DIRECTORY
            values |= {f"artefact:{one}": f"{ARTEFACTS}/{one}" for one in self.layout.artefacts}
        for kind, what in placeholders(text):
            if kind == "link":
                values[f"link:{what}"] = self._relayed(self.layout.links[what])
            elif kind in ("address", "port"):
                own = commanded and what.partition(".")[0] == name
                address = f"{ANY}:{self.layout.port(what)}" if own else self.address(what)
                values[f"{kind}:{what}"] = address if kind == "address" else address.rpartition(":")[2]
        return fill(text, values)

    def command(self, name: str) -> tuple[str, ...]:
        """The words of a service's command or job."""
        service = self.layout.file.spec.services[name]
        return tuple(self.filled(name, word) for word in service.command or service.job or ())

    def artefacts(self, name: str) -> dict[Path, str]:
        """The artefacts that a service's texts name: where each is on this machine -> inside."""
        texts = [text for _, text in self.layout.file.spec.services[name].texts()]
        named = {what for text in texts for kind, what in placeholders(text) if kind == "artefact"}
        return {self.layout.artefacts[one]: f"{ARTEFACTS}/{one}" for one in sorted(named)}

    def _relayed(self, port: int) -> str:
        self.asked.add(port)
        return f"{HOST}:{port}"
