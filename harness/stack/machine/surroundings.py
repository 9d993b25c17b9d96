"""What the process brings along: its interpreter, its environment, and whether a Docker engine is at hand."""

from __future__ import annotations

import http.client
import json
import os
import platform
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import harness
from harness.stack.machine.check import Check

OLDEST = (3, 11)
DOCKER_WAIT = 1.0  # seconds for one answer of the engine
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# What an interpreter or a linker obeys, and what makes the load generator slow.
_SLOWING = (
    "LD_PRELOAD",
    "PYTHONDEVMODE",
    "PYTHONTRACEMALLOC",
    "PYTHONASYNCIODEBUG",
    "PYTHONMALLOC",
    "PYTHONPROFILEIMPORTTIME",
    "COVERAGE_PROCESS_START",
)
_OURS = "SLO_HARNESS_"


@dataclass(frozen=True, slots=True)
class Interpreter:
    version: tuple[int, int, int]
    executable: str
    package: str  # the harness's own version
    system: str


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker engine. address: where it was looked for; named: by DOCKER_HOST; version: '' if it did not answer;
    why: why not, in words."""

    address: str
    named: bool
    version: str
    why: str = ""


def read_interpreter() -> Interpreter:
    version = sys.version_info
    return Interpreter(
        (version.major, version.minor, version.micro), sys.executable, harness.__version__, platform.platform()
    )


def check_python(told: Interpreter) -> Check:
    """Whether the interpreter is new enough."""
    number = ".".join(map(str, told.version))
    found = f"Python {number}, slo-harness {told.package}, {told.system}"
    numbers = {"python": number, "executable": told.executable, "harness": told.package, "system": told.system}
    if told.version[:2] < OLDEST:
        remedy = f"Install Python {'.'.join(map(str, OLDEST))} or newer."
        return Check("python", "problem", found, remedy, numbers)
    return Check("python", "ok", found, numbers=numbers)


def check_environment(environment: Mapping[str, str]) -> Check | None:
    """What the environment holds that changes a run, or might be thought to; None when there is nothing.

    Values are not shown: an address of a proxy may hold a password.
    """
    proxies = [name for name in sorted(environment) if name.lower() in _PROXIES and environment[name]]
    slowing = [name for name in _SLOWING if environment.get(name)]
    ours = [name for name in sorted(environment) if name.startswith(_OURS) and environment[name]]
    told = []
    if proxies:
        told.append(f"{', '.join(proxies)}: ignored, harness and services speak to each other directly")
    if ours:
        told.append(f"{', '.join(ours)}: obeyed")
    if slowing:
        told.append(f"{', '.join(slowing)}: the load generator inherits it and may be slow")
    if not told:
        return None
    numbers = {"proxies": proxies, "ours": ours, "slowing": slowing}
    if slowing:
        remedy = f"unset {' '.join(slowing)} for runs whose latencies count."
        return Check("environment", "warning", "; ".join(told), remedy, numbers)
    return Check("environment", "ok", "; ".join(told), numbers=numbers)


def read_engine(environment: Mapping[str, str] = os.environ) -> Engine:
    """Ask the engine that DOCKER_HOST names, or the first local one. No other machine is asked."""
    if named := environment.get("DOCKER_HOST"):
        scheme, _, place = named.partition("://")
        if scheme != "unix":
            return Engine(f"{scheme}://...", True, "", "not asked: this command contacts no other machine")
        return _ask(Path(place), named=True)
    runtime = environment.get("XDG_RUNTIME_DIR")
    places = [Path("/var/run/docker.sock"), *([Path(runtime) / "docker.sock"] if runtime else ())]
    answers = [_ask(place, named=False) for place in places if place.exists()]
    return next((one for one in answers if one.version), (answers or [Engine("", False, "", "no engine is here")])[0])


def _ask(path: Path, *, named: bool) -> Engine:
    address = f"unix://{path}"
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/version", headers={"Connection": "close"})
        told = json.loads(connection.getresponse().read())
        return Engine(address, named, str(told["Version"]))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return Engine(address, named, "", f"it does not answer: {said}")
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DOCKER_WAIT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(DOCKER_WAIT)
        self.sock.connect(str(self._path))


def check_docker(engine: Engine) -> Check:
    """Whether an engine is at hand: for information, the local runtime does without."""
    where = f"{engine.address} (DOCKER_HOST)" if engine.named else engine.address
    if engine.version:
        found = f"engine {engine.version} at {where}"
    else:
        found = f"{where}: {engine.why}" if where else engine.why
    numbers = {"version": engine.version or None, "address": engine.address or None, "named": engine.named}
    return Check("docker", "ok", f"{found}; the local runtime needs none", numbers=numbers)
