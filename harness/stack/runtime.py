"""Bring a stack up, as processes or with containers; find one that is up; take it down."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from harness.core.clock import wall_ns
from harness.core.errors import HarnessError, UsageError
from harness.core.jsonio import read_json, write_json
from harness.model.events import Event, LogEvent, StackEvent
from harness.model.runtimes import with_app
from harness.model.source import Document
from harness.model.stackfile import StackFile, load_stackfile
from harness.stack.artefacts import artefact_paths
from harness.stack.availability import Unavailable, refuse_without, unavailable
from harness.stack.bringup import Overrides, bring_up, build_units
from harness.stack.control import Control
from harness.stack.handle import Stack
from harness.stack.launch import Launched, wait_gone
from harness.stack.layout import Layout, assign, fixed_ports, ports_needed
from harness.stack.ports import PortBlock
from harness.stack.services import RECIPES
from harness.stack.sweep import live_stacks, sweep
from harness.stack.tools import resolve_tool

if TYPE_CHECKING:  # the docker library is not needed where nobody wants containers, and takes a while
    from harness.stack.docker.bringup import DockerRun
    from harness.stack.docker.built import Built
    from harness.stack.docker.engine import Engine

__all__ = ["RunningStack", "Stack", "down", "find_running", "list_running", "up"]

INFO = "stack.json"
_NOT_THE_SYSTEM = frozenset({"tests", "results", "scenarios", "node_modules", "__pycache__"})
SCHEMA = 4


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack that `harness stack up` left running."""

    id: str
    name: str
    path: str  # of its stack file
    directory: Path


def up(
    stackfile: Path,
    *,
    lease: bool,
    emit: Callable[[Event], None],
    overrides: Overrides | None = None,
    allow_reuse: bool = True,
    python: str = sys.executable,
    runtime: str = "local",
    app: str = "process",
) -> Stack:
    """Bring up the stack of `stackfile`, or take one that is up and agrees with it.

    lease: the stack ends with this process, however it ends; without, it stays until `down`. overrides: environment
    per service that beats stack.yaml's. Progress is told to `emit` as StackEvents. runtime: local | docker.
    app: process | container, what the services become that stack.yaml has in its `image`: with docker alone.

    A service that this machine cannot run is left out, with all that needs it, and told as `unavailable`.
    Raises UsageError for the file (located), HarnessError: service-unavailable (the target is), port-taken, no-ports,
    supervisor-failed, service-failed, artefact-failed, stack-lost; with containers also engine-unreachable,
    engine-not-local, engine-lost, engine-refused, image-unavailable, guardian-failed; with app=container also
    image-build-failed, and UsageError bad-option, no-app-image. Whatever it raises, nothing of the stack is left.
    """
    began = time.monotonic()
    path, overrides = stackfile.resolve(), overrides or {}
    file, document = load_stackfile(path)
    with_app(app, runtime)
    _check_overrides(file, overrides)
    check_config(file, document, path.parent)
    found = find_running(path, overrides, python=python, runtime=runtime, app=app) if allow_reuse else None
    if found is not None:
        emit(StackEvent(file.metadata.name, "ready", 0.0, f"stack {found.id} was up already"))
        return found
    engine = _engine(emit) if runtime == "docker" else None
    missing = unavailable(file, runtime)
    refuse_without(file, [file.spec.target.partition(".")[0]], missing, f"stack {file.metadata.name}")
    for name, why in missing.items():
        emit(StackEvent(name, "unavailable", detail=f"{why.cause}; remedy: {why.remedy}"))
    artefacts = artefact_paths(file, document, path.parent)
    fixed = fixed_ports(file)
    image = _image(engine, file, path.parent, emit) if engine is not None and app == "container" else None
    sweep()
    block = PortBlock.reserve(ports_needed(file, runtime))
    ports, links = assign(file, fixed, block, runtime)
    launched = Launched(python, block)
    run: DockerRun | None = None
    try:
        layout = Layout(file, path.parent, launched.directory, ports, links, artefacts, missing)
        if engine is not None:
            run = _with_containers(engine, layout, launched, python, lease, image)
            units = run.units(launched.isolation, overrides)
        else:
            units = build_units(layout, launched.control, python, launched.isolation, overrides)
        ready = bring_up(units, layout, launched.control, emit, began)
        if not lease:
            launched.release()
        info = {
            "schema": SCHEMA,
            "id": launched.id,
            "name": file.metadata.name,
            "path": str(path),
            "runtime": runtime,
            "app": app,
            "docker": None if run is None else run.info(),
            "hash": _hash(path, file, overrides, artefacts, missing, python, engine, app),
            "isolation": launched.isolation,
            "leased": lease,
            "python": python,
            "ready_wall_ns": wall_ns(),
            "ports": ports,
            "links": links,
            "artefacts": {name: str(one) for name, one in artefacts.items()},
            "unavailable": {name: why.as_dict() for name, why in missing.items()},
            "ready": {name: {"seconds": seconds, "detail": detail} for name, (seconds, detail) in ready.items()},
        }
        write_json(launched.directory / INFO, info)
    except OSError as error:
        _end(launched, run)
        raise HarnessError(
            "stack-lost", f"the stack's directory went away while it started: {error}", "Bring it up again."
        ) from error
    except BaseException:
        _end(launched, run)
        raise
    seconds = round(time.monotonic() - began, 3)
    emit(StackEvent(file.metadata.name, "ready", seconds, f"stack {launched.id}, {launched.isolation}"))
    return _handle(layout, launched.control, info, launched if lease else None, reused=False, run=run)


def _engine(emit: Callable[[Event], None]) -> Engine:
    """The Docker engine, without what dead stacks left on it. Raises HarnessError engine-unreachable, engine-not-local,
    engine-lost."""
    from harness.stack.docker import removal
    from harness.stack.docker.bringup import refuse_remote
    from harness.stack.docker.engine import Engine
    from harness.stack.docker.lazy import warm

    warm()
    engine = Engine.find()
    refuse_remote(engine)
    try:
        removal.sweep(engine)
    except HarnessError as error:
        if error.slug != "stack-lingers":
            raise
        emit(LogEvent("warning", f"left of an earlier stack: {error.cause}"))
    return engine


def _image(engine: Engine, file: StackFile, root: Path, emit: Callable[[Event], None]) -> Built:
    from harness.stack.docker.built import ensure

    return ensure(engine, file, root, emit)


def _with_containers(
    engine: Engine, layout: Layout, launched: Launched, python: str, lease: bool, image: Built | None
) -> DockerRun:
    from harness.stack.docker.bringup import TOKEN, DockerRun

    layout.token = launched.directory / TOKEN
    return DockerRun(engine, layout, launched.control, python, lease=lease, image=image)


def _end(launched: Launched, run: DockerRun | None) -> None:
    """Of a stack that does not come up, nothing is to be left."""
    try:
        launched.close()
    finally:
        if run is not None:
            run.close()


def _handle(
    layout: Layout,
    control: Control,
    info: dict[str, Any],
    launched: Launched | None,
    *,
    reused: bool,
    run: DockerRun | None = None,
) -> Stack:
    if info["runtime"] == "local":
        return Stack(layout, control, info, launched=launched, reused=reused)
    from harness.stack.docker.stack import DockerStack

    return DockerStack(layout, control, info, launched=launched, reused=reused, run=run)


def find_running(
    stackfile: Path,
    overrides: Overrides | None = None,
    *,
    python: str = sys.executable,
    whole: bool = True,
    runtime: str | None = None,
    app: str | None = None,
) -> Stack | None:
    """The stack of this file that `harness stack up` left running, if the file's content, its overrides and its
    artefacts agree and, unless `whole` is False, every service is still there. runtime: local or docker, app:
    process or container, None for either. Raises UsageError for the file."""
    path = stackfile.resolve()
    file, document = load_stackfile(path)
    artefacts = artefact_paths(file, document, path.parent)
    for directory, info in _released():
        if info["path"] != str(path) or runtime not in (None, info["runtime"]) or app not in (None, info["app"]):
            continue
        missing = unavailable(file, info["runtime"])
        try:
            engine = None if info["docker"] is None else _engine_at(info["docker"]["host"])
            wanted = _hash(path, file, overrides or {}, artefacts, missing, python, engine, info["app"])
            control = Control(info["id"])
        except HarnessError as error:
            if isinstance(error, UsageError):
                raise
            continue  # it, or the engine, ended meanwhile
        layout = Layout(file, path.parent, directory, info["ports"], info["links"], artefacts, missing)
        stack = _handle(layout, control, info, None, reused=True)
        if info["hash"] == wanted and (not whole or stack.healthy()):
            return stack
        control.close()
    return None


def _engine_at(host: str) -> Engine:
    from harness.stack.docker.engine import Engine
    from harness.stack.docker.hosts import Host

    return Engine(Host(host))


def list_running() -> list[RunningStack]:
    """The stacks that stay until they are taken down; not those that hang on a running test."""
    return [RunningStack(info["id"], info["name"], info["path"], directory) for directory, info in _released()]


def down(stack_id: str) -> None:
    """End a stack and wait until nothing of it is left. Raises UsageError stack-unknown, HarnessError stack-lingers."""
    for directory in live_stacks():
        if directory.name == stack_id:
            host = _host_of(directory)
            control = Control(stack_id)
            control.ask("shutdown")
            control.close()
            wait_gone(directory)
            if host is not None:
                from harness.stack.docker.removal import remove_stack

                remove_stack(_engine_at(host), stack_id)
            return
    raise UsageError("stack-unknown", f"no stack {stack_id} is up", "harness stack status lists what is up.")


def check_config(file: StackFile, document: Document, root: Path) -> None:
    """Raises UsageError, located: file-missing for a config that is not there, or what is wrong with it."""
    for name, service in file.spec.services.items():
        if service.config is not None and not (root / service.config).is_file():
            where = ("spec", "services", name, "config")
            raise document.error(where, "file-missing", f"no file {service.config!r} in {root}", "Correct the path.")
    _inputs(file, root)


def _inputs(file: StackFile, root: Path) -> list[Path]:
    """The configurations of the services, and the files that these name. Raises UsageError, located."""
    found = []
    for service in file.spec.services.values():
        if service.config is not None and service.use is not None:
            path = root / service.config
            examine = RECIPES[service.use].examine
            found += [path, *(examine(path, file.spec) if examine is not None else ())]
    return found


def _programs(file: StackFile, missing: Mapping[str, Unavailable]) -> list[tuple[str, int, int]]:
    """Path, size and time of each program that the services would run."""
    paths = {
        resolve_tool(tool).path
        for name, service in file.spec.services.items()
        if service.use is not None and name not in missing
        for tool in RECIPES[service.use].tools
    }
    return [(str(path), status.st_size, status.st_mtime_ns) for path in sorted(paths) for status in [path.stat()]]


def _images(file: StackFile, root: Path, engine: Engine, app: str) -> list[tuple[str, str]]:
    """Name and id of each image that a container would be made of, '' for one that is not there."""
    from harness.stack.docker.bringup import contained
    from harness.stack.docker.images import image_of

    names = sorted({image_of(str(file.spec.services[name].use)) for name in contained(file)})
    found = [(name, str((engine.image(name) or {}).get("Id", ""))) for name in names]
    if app != "container" or file.spec.image is None:
        return found
    from harness.stack.docker.built import find

    built = find(engine, file, root)
    return [*found, (built.name, built.id)]


def _host_of(directory: Path) -> str | None:
    """Where the engine is that has the containers of a stack; None for one without."""
    try:
        docker = read_json(directory / INFO)["docker"]
    except (OSError, ValueError, KeyError):
        return None  # still starting, of another version, or just gone: its guardian sees to it
    return None if docker is None else str(docker["host"])


def _released() -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for directory in live_stacks():
        try:
            info = read_json(directory / INFO)
        except (OSError, ValueError):
            continue  # still starting, or just gone
        if info["schema"] == SCHEMA and not info["leased"]:
            found.append((directory, info))
    return found


def _check_overrides(file: StackFile, overrides: Overrides) -> None:
    for name in overrides:
        if name not in file.spec.services:
            known = ", ".join(file.spec.services)
            raise UsageError("override-unknown", f"no service {name!r} to set environment of", f"Known are: {known}.")


def _sources(root: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of the project's Python files: a stack that runs yesterday's code is not the same stack."""
    found = []
    for directory, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and name not in _NOT_THE_SYSTEM]
        for name in names:
            if name.endswith(".py"):
                status = os.stat(file := os.path.join(directory, name))  # noqa: PTH116, PTH118 - thousands of files
                found.append((os.path.relpath(file, root), status.st_size, status.st_mtime_ns))
    return sorted(found)


def _hash(
    path: Path,
    file: StackFile,
    overrides: Overrides,
    artefacts: Mapping[str, Path],
    missing: Mapping[str, Unavailable],
    python: str,
    engine: Engine | None = None,
    app: str = "process",
) -> str:
    """Of everything that makes two stacks the same, as far as files tell."""
    configs = {
        str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in _inputs(file, path.parent) if one.is_file()
    }
    settings = {name: sorted(env.items()) for name, env in sorted(overrides.items()) if env}
    parts = (
        harness.__version__,
        str(path),
        path.read_bytes(),
        sorted(configs.items()),
        settings,
        _sources(path.parent),
        _programs(file, missing) if engine is None else _images(file, path.parent, engine, app),
    )
    return hashlib.sha256(repr((*parts, sorted(artefacts.items()), sorted(missing), python)).encode()).hexdigest()
