"""The programs of a stack's services, by service: which, in what version, from where; or why there is none."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import HarnessError
from harness.model.stackfile import Service, StackFile
from harness.stack.availability import Unavailable
from harness.stack.machine.check import Check
from harness.stack.services import RECIPES
from harness.stack.tools import INSTALL_COMMAND, resolve_tool, tool_version

_VERSION = re.compile(r"\d+(\.\d+)+[^\s,)]*")
_PYTHON = ("python", "python3")  # the interpreter that the harness runs in
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Program:
    """version: the number in what it prints; source: override, path, debian, wheel, go, or '' for a plain command."""

    name: str
    version: str
    source: str
    path: str


@dataclass(frozen=True, slots=True)
class ServicePrograms:
    """One service. state: ready | unavailable (cannot be had here, the rest comes up) | broken (it would be started and
    fail, and the stack with it); slug, cause, remedy: why, '' when it is ready."""

    service: str
    state: Literal["ready", "unavailable", "broken"]
    programs: tuple[Program, ...] = ()
    slug: str = ""
    cause: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_programs(file: StackFile, root: Path, missing: Mapping[str, Unavailable]) -> list[ServicePrograms]:
    """All services in the order of the file; asks each program for its version. root: the directory of stack.yaml;
    missing: services that cannot be had here. Raises UsageError bad-tool-override."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda name: _read(name, file.spec.services[name], root, missing), file.spec.services))


def _read(name: str, service: Service, root: Path, missing: Mapping[str, Unavailable]) -> ServicePrograms:
    if (why := missing.get(name)) is not None:
        return ServicePrograms(name, "unavailable", (), why.slug, why.cause, why.remedy)
    found: list[Program] = []
    try:
        for tool_name in RECIPES[service.use].tools if service.use is not None else ():
            tool = resolve_tool(tool_name)
            printed = tool_version(tool)
            number = _VERSION.search(printed)
            found.append(Program(tool_name, number[0] if number else printed, tool.source, str(tool.path)))
        if service.use is None:
            found += _command((service.command or service.job or [""])[0], root)
    except HarnessError as error:
        if error.slug == "bad-tool-override":
            raise
        return ServicePrograms(name, "broken", tuple(found), error.slug, error.cause, error.remedy)
    return ServicePrograms(name, "ready", tuple(found))


def _command(word: str, root: Path) -> list[Program]:
    """The program of a plain command. Raises HarnessError missing-command."""
    if word in _PYTHON:
        return [Program(word, ".".join(map(str, sys.version_info[:3])), "", sys.executable)]
    if "${" in word:
        return []  # known when the stack is laid out
    beside = str(Path(sys.executable).parent)  # first on the PATH that services get
    search = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    path = shutil.which(str(root / word) if "/" in word else word, path=search)
    if path is None:
        raise HarnessError(
            "missing-command", f"{word} is not on PATH, or cannot be run", "Install it, or correct stack.yaml."
        )
    return [Program(word, "", "", path)]


def check_programs(services: Sequence[ServicePrograms], target: Collection[str]) -> Check:
    """Whether the services have their programs. target: the services without which no stack comes up."""
    broken = [one for one in services if one.state == "broken"]
    lacking = [one for one in services if one.state == "unavailable"]
    numbers = {
        "services": len(services),
        "unavailable": [one.service for one in lacking],
        "broken": [one.service for one in broken],
    }
    if broken:
        found = "; ".join(f"{one.service}: {one.cause}" for one in broken)
        return Check("programs", "problem", found, _remedies(broken), numbers)
    if not lacking:
        return Check("programs", "ok", f"all {len(services)} services have theirs", numbers=numbers)
    names = ", ".join(one.service for one in lacking)
    found = f"{len(lacking)} of {len(services)} services cannot be had here: {names}"
    fatal = [one for one in lacking if one.service in target]
    if fatal:
        found += f"; without {', '.join(one.service for one in fatal)} no stack comes up"
    return Check("programs", "problem" if fatal else "warning", found, _remedies(fatal or lacking), numbers)


def _remedies(services: Iterable[ServicePrograms]) -> str:
    """What to do, each thing once. Ways of one program alone stand beside that program."""
    general = {"missing-binary": f"run `{INSTALL_COMMAND}`"}
    roots = [one for one in services if one.slug != "needs-unavailable"]
    return "; ".join(dict.fromkeys(general.get(one.slug, one.remedy) for one in roots))
