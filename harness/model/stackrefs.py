"""The references within a stack file: who needs, links to, scrapes and names whom; all must resolve, without cycles."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.core.errors import UsageError
from harness.model.builtins import BUILTINS
from harness.model.source import Document
from harness.model.template import placeholders

if TYPE_CHECKING:
    from harness.model.stackfile import StackFile

Steps = tuple[str | int, ...]
RESERVED = ("links", "relay", "supervisor")  # processes of the runtime itself
_KINDS = ("address", "port", "link", "artefact", "dir", "scale", "unavailable")


def check_references(file: StackFile, document: Document) -> None:
    """Raises UsageError stack-reference, located at the first reference that leads nowhere."""
    _Check(file, document).all()


class _Check:
    def __init__(self, file: StackFile, document: Document) -> None:
        self.spec = file.spec
        self.document = document
        services = file.spec.services
        self.ports = [f"{name}.{port}" for name, service in services.items() for port in service.port_names]

    def all(self) -> None:
        spec = self.spec
        for name in spec.services:
            if name in RESERVED:
                self._refuse(("spec", "services", name), f"{name!r} is a name of the runtime's own", "Choose another.")
            self._service(name)
        for name, link in spec.links.items():
            self._known(("spec", "links", name, "to"), "port", link.to, self.ports)
        for job, ref in spec.scrape.items():
            self._known(("spec", "scrape", job), "port", ref, self.ports)
        for name, artefact in spec.artefacts.items():
            for at, text in enumerate(artefact.command):
                self._template(("spec", "artefacts", name, "command", at), text, ("dir",))
        for at, name in enumerate(spec.image.services if spec.image is not None else ()):
            self._in_image(("spec", "image", "services", at), name)
        self._known(("spec", "target"), "port", spec.target, self.ports)
        for name, counter in spec.counters.items():
            where: Steps = ("spec", "counters", name, "service")
            self._known(where, "service", counter.service, spec.services)
            service = spec.services[counter.service]
            if not service.exports_metrics:
                self._refuse(where, f"service {counter.service!r} declares no metrics", "Add `metrics: {port: ...}`.")
        self._cycles()

    def _service(self, name: str) -> None:
        service = self.spec.services[name]
        for field in ("needs", "after"):
            for at, other in enumerate(getattr(service, field)):
                self._known(("spec", "services", name, field, at), "service", other, self.spec.services)
        self._peers(name)
        for steps, text in service.texts():
            self._template(("spec", "services", name, *steps), text, _KINDS)

    def _in_image(self, where: Steps, name: str) -> None:
        self._known(where, "service", name, self.spec.services)
        service = self.spec.services[name]
        words = service.command or service.job
        if words is None:
            self._refuse(where, f"{name} is {service.use}, which has an image of its own", "Leave it out.")
        elif words[0] not in ("python", "python3"):
            self._refuse(where, f"the command of {name} is {words[0]}, and not python", "Leave it out.")
        if service.disk is not None:
            self._refuse(where, f"{name} has a `disk`, which it would not have in a container", "Leave one out.")

    def _peers(self, name: str) -> None:
        use = self.spec.services[name].use
        builtin = BUILTINS[use] if use is not None else None
        for kind in builtin.peers if builtin is not None else ():
            found = self.spec.services_of(kind)
            where: Steps = ("spec", "services", name, "use")
            if builtin is not None and kind == builtin.of and not found:
                self._refuse(where, f"{use} has no service with `use: {kind}` to watch", "Add one, or remove this.")
            if len(found) > 1:
                self._refuse(where, f"{use} cannot choose between {' and '.join(found)}", f"Keep one {kind}.")

    def _template(self, where: Steps, text: str, kinds: Iterable[str]) -> None:
        spec = self.spec
        known = {"address": self.ports, "port": self.ports, "link": spec.links, "artefact": spec.artefacts}
        for kind, target in placeholders(text):
            self._known(where, "placeholder", kind, list(kinds))
            if kind in known:
                self._known(where, kind, target, known[kind])
            elif target:
                self._refuse(where, f"${{{kind}:{target}}}: {kind} takes no name", f"Write ${{{kind}}}.")

    def _known(self, where: Steps, what: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.5)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(names) or 'none'}."
            self._refuse(where, f"unknown {what} {name!r}", remedy)

    def _cycles(self) -> None:
        done: set[str] = set()

        def visit(name: str, trail: tuple[str, ...]) -> None:
            if name in trail:
                circle = " -> ".join((*trail[trail.index(name) :], name))
                self._refuse(("spec", "services", name, "needs"), f"needs go in a circle: {circle}", "Break it.")
            if name not in done:
                service = self.spec.services[name]
                of = BUILTINS[service.use].of if service.use is not None else None
                implied = self.spec.services_of(of) if of is not None else ()
                for other in (*service.needs, *service.after, *implied):
                    visit(other, (*trail, name))
                done.add(name)

        for name in self.spec.services:
            visit(name, ())

    def _refuse(self, where: Steps, cause: str, remedy: str) -> None:
        error: UsageError = self.document.error(where, "stack-reference", cause, remedy)
        raise error
