"""stack.yaml: which services run, how they find each other, what Prometheus must see."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from harness.core.duration import parse_duration
from harness.core.errors import UsageError
from harness.core.size import parse_size
from harness.model.builtins import BUILTINS
from harness.model.json_schema import duration_schema, size_schema
from harness.model.source import Document, load_documents, parse_model
from harness.model.stackrefs import check_references

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_LINK = re.compile(r"[a-z0-9][a-z0-9>-]*")


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a duration; write for example 30s or 2m")
    return parse_duration(value) / 1e9


def _bytes(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a size; write for example 64kB, 256MB or 1GiB")
    return parse_size(value)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not a text; quote it")
    return str(value)


def _named(text: str, grammar: re.Pattern[str]) -> str:
    if not grammar.fullmatch(text):
        raise ValueError(f"{text!r} is not a name; use lower-case letters, digits and dashes")
    return text


def _builtin(name: str) -> str:
    if name not in BUILTINS:
        near = difflib.get_close_matches(name, BUILTINS, 1, 0.5)
        known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(BUILTINS)}"
        raise ValueError(f"no built-in service is called {name!r}; {known}")
    return name


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0), WithJsonSchema(duration_schema("s"))]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=1 << 20), WithJsonSchema(size_schema())]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "number"]})]
# Not Field(pattern=): keys with a pattern hide what is below them from the search for the nearest name.
Name = Annotated[str, AfterValidator(lambda text: _named(text, _NAME))]
LinkName = Annotated[str, AfterValidator(lambda text: _named(text, _LINK))]
PortNumber = Annotated[int, Field(ge=1, le=65535)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ready(_Model):
    """When a command counts as healthy: `http` answers with a status below 400, or `tcp` accepts a connection."""

    http: str | None = None
    tcp: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Ready:
        if (self.http is None) == (self.tcp is None):
            raise ValueError("give either http or tcp")
        return self


class Metrics(_Model):
    """Where a service exports its metrics."""

    port: str
    path: Annotated[str, Field(pattern="^/")] = "/metrics"


class Service(_Model):
    """One member: a built-in (`use`), a lasting `command`, or a `job` that must end with 0. `timeout` in seconds.

    needs: what must be ready first, without which it cannot be; after: what must be ready first if it can be had.
    disk: what a built-in keeps goes to a file system of its own, of so many bytes, in memory, where a stack can have
    mounts; a command is to write below `${dir}/disk`.
    """

    use: Annotated[str, AfterValidator(_builtin)] | None = None
    command: Annotated[list[Text], Field(min_length=1)] | None = None
    job: Annotated[list[Text], Field(min_length=1)] | None = None
    config: str | None = None
    ports: list[Name] | dict[Name, PortNumber] = Field(default_factory=list)
    needs: list[str] = Field(default_factory=list)
    after: list[str] = Field(default_factory=list)
    env: dict[str, Text] = Field(default_factory=dict)
    ready: Ready | None = None
    metrics: Metrics | None = None
    timeout: Seconds = 60.0
    disk: Bytes | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Service:
        kinds = [name for name in ("use", "command", "job") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(f"give exactly one of use, command and job, not {' and '.join(kinds) or 'none'}")
        if self.config is not None and (self.use is None or not BUILTINS[self.use].config):
            able = ", ".join(name for name, builtin in BUILTINS.items() if builtin.config)
            raise ValueError(f"only a service with one of these in `use` has a config: {able}")
        if self.use is not None:
            known = BUILTINS[self.use].ports
            if isinstance(self.ports, list) and self.ports:
                raise ValueError(
                    f"{self.use} brings its ports ({', '.join(known)}); to fix one write {{{known[0]}: N}}"
                )
            if unknown := set(self.ports) - set(known):
                raise ValueError(f"{self.use} has no port {sorted(unknown)[0]!r}; it has {', '.join(known)}")
            if self.ready is not None or self.metrics is not None:
                raise ValueError(f"{self.use} brings its own `ready` and `metrics`")
        if self.job is not None and (self.ready is not None or self.ports):
            raise ValueError("a job ends; it has no ports and no `ready`")
        if self.job is not None and self.disk is not None:
            raise ValueError("a job ends; it has no `disk`")
        if self.metrics is not None and self.metrics.port not in self.ports:
            raise ValueError(f"metrics.port names {self.metrics.port!r}, which is not among its ports")
        return self

    @property
    def kind(self) -> Literal["use", "command", "job"]:
        return "use" if self.use is not None else "command" if self.command is not None else "job"

    @property
    def port_names(self) -> tuple[str, ...]:
        """The ports that others may name."""
        return BUILTINS[self.use].ports if self.use is not None else tuple(self.ports)

    def texts(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every text that may hold placeholders, with its path below the service."""
        for at, text in enumerate(self.command or ()):
            yield ("command", at), text
        for at, text in enumerate(self.job or ()):
            yield ("job", at), text
        for key, text in self.env.items():
            yield ("env", key), text
        if self.ready is not None and self.ready.http is not None:
            yield ("ready", "http"), self.ready.http
        if self.ready is not None and self.ready.tcp is not None:
            yield ("ready", "tcp"), self.ready.tcp

    @property
    def exports_metrics(self) -> bool:
        """Whether it has a metrics endpoint that we know of."""
        return self.metrics is not None or (self.use is not None and BUILTINS[self.use].metrics)

    @property
    def watches(self) -> bool:
        """Whether it only looks on: without it data are missing, and the system is as before."""
        return self.use is not None and BUILTINS[self.use].watches

    @property
    def fixed_ports(self) -> dict[str, int]:
        return dict(self.ports) if isinstance(self.ports, dict) else {}


class Link(_Model):
    """A connection with an address of its own; `to` is SERVICE.PORT."""

    to: str


class Artefact(_Model):
    """Something built once and kept: `command` fills ${dir}; it is built anew when the content of `inputs` changes."""

    command: Annotated[list[Text], Field(min_length=1)]
    inputs: list[str] = Field(default_factory=list)
    timeout: Seconds = 600.0


class Image(_Model):
    """What `services`, each a `command` or `job` of Python, run in where they are containers: one image, built from
    `dockerfile` with the stack file's directory as its context."""

    dockerfile: str = "Dockerfile"
    services: Annotated[list[str], Field(min_length=1)]


class Counter(_Model):
    """The raw server-side counter that must agree with what the client sent."""

    service: str
    series: str


class Spec(_Model):
    timeScale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    services: Annotated[dict[Name, Service], Field(min_length=1)]
    links: dict[LinkName, Link] = Field(default_factory=dict)
    scrape: dict[str, str] = Field(default_factory=dict)
    artefacts: dict[Name, Artefact] = Field(default_factory=dict)
    image: Image | None = None
    target: str
    counters: dict[str, Counter] = Field(default_factory=dict)

    def services_of(self, kind: str) -> list[str]:
        """The names of the services with `use: kind`."""
        return [name for name, service in self.services.items() if service.use == kind]


class Metadata(_Model):
    name: Name
    description: str = ""


class StackFile(_Model):
    """A stack file whose references all resolve."""

    apiVersion: Literal["harness/v1"]
    kind: Literal["Stack"]
    metadata: Metadata
    spec: Spec


def load_stackfile(path: Path) -> tuple[StackFile, Document]:
    """The stack file at `path`, all references checked. Raises UsageError, located (also slug stack-reference)."""
    documents = load_documents(path)
    if len(documents) > 1:
        raise UsageError("stack-reference", f"{path} holds {len(documents)} documents", "Keep one stack a file.")
    file = parse_model(documents[0], StackFile)
    check_references(file, documents[0])
    return file, documents[0]
