"""From a stack file to units, and from units to a stack that is ready: in parallel, by dependency, in one loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson

from harness.core.errors import HarnessError
from harness.model.builtins import BUILTINS
from harness.model.events import Event, StackEvent
from harness.model.stackfile import Artefact, Service
from harness.model.template import fill, placeholders
from harness.stack.artefacts import Build
from harness.stack.availability import hard_needs
from harness.stack.control import Control
from harness.stack.layout import LINKS, Layout
from harness.stack.leftovers import NOTES
from harness.stack.probes import tcp_ready, url_ready
from harness.stack.services import RECIPES
from harness.stack.services.recipe import Command, Context, Plan
from harness.stack.sweep import scratch_dir
from harness.stack.tools import resolve_tool
from harness.stack.units import ArtefactUnit, Probe, ServiceUnit, Spawner, Status, Unit, UnitFailed, tail

POLL_SECONDS = 0.02
Overrides = Mapping[str, Mapping[str, str]]


def context(layout: Layout, name: str, python: str, isolation: str) -> Context:
    """What the recipe of a built-in service is rendered from."""
    service = layout.file.spec.services[name]
    return Context(
        name=name,
        directory=layout.service_dir(name),
        store=layout.disk_dir(name) if _has_disk(service, isolation) else layout.service_dir(name),
        stack_id=layout.directory.name,
        isolation=isolation,
        python=python,
        ports=layout.ports[name],
        scale=layout.file.spec.timeScale,
        config=None if service.config is None else layout.root / service.config,
        scrape=layout.scrape(),
        peers=_peers(layout, service),
        tool=resolve_tool,
        outside=layout.directory / NOTES,
        scratch=scratch_dir(layout.directory.name),
        token=layout.token,
        asks_senders=bool(layout.sender_env),
    )


def _has_disk(service: Service, isolation: str) -> bool:
    return service.disk is not None and isolation != "subreaper"  # which has no mounts of its own


def _mounted(layout: Layout, name: str, isolation: str) -> tuple[Command, ...]:
    """What makes the file system of its own that a service has, before anything else of it runs."""
    service, disk = layout.file.spec.services[name], layout.disk_dir(name)
    if service.disk is None:
        return ()
    disk.mkdir()
    if not _has_disk(service, isolation):
        return ()
    return (Command(("mount", "-t", "tmpfs", "-o", f"size={service.disk},mode=755", "slo-harness", str(disk))),)


def _peers(layout: Layout, service: Service) -> dict[str, str]:
    found = {}
    for kind in BUILTINS[service.use].peers if service.use is not None else ():
        for name, one in layout.services.items():
            if one.use == kind:
                found[kind] = layout.address(f"{name}.{one.port_names[0]}")
    return found


def probe_of(layout: Layout, name: str, python: str, isolation: str) -> Probe | None:
    """How to ask a service whether it is ready; None for a job."""
    service = layout.file.spec.services[name]
    if service.use is not None:
        recipe, told = RECIPES[service.use], context(layout, name, python, isolation)
        return lambda: recipe.probe(told)
    if service.job is not None:
        return None
    values, ready = layout.values(name), service.ready
    if ready is not None and ready.http is not None:
        url = fill(ready.http, values)
        return lambda: "" if url_ready(url) else None
    if ready is not None and ready.tcp is not None:
        at = fill(ready.tcp, values)
        return lambda: "" if tcp_ready(at) else None
    ports = [layout.address(f"{name}.{port}") for port in service.port_names]
    return lambda: "" if all(map(tcp_ready, ports)) else None


def build_units(
    layout: Layout,
    control: Control,
    python: str,
    isolation: str,
    overrides: Overrides,
    elsewhere: Callable[[str, Spawner], Unit | None] = lambda *_: None,
) -> list[Unit]:
    """All units of a stack; makes the directories that they work in. elsewhere: makes the unit of a service that is no
    process of this machine, None for one that is."""
    spec = layout.file.spec
    units: list[Unit] = []
    for name, artefact in spec.artefacts.items():
        units.append(
            _artefact(layout, name, artefact, spawner_of(layout, f"artefact.{name}", control, python, {}), python)
        )
    if spec.links:
        units.append(_links(layout, spawner_of(layout, LINKS, control, python, {}), python))
    for name, service in layout.services.items():
        values = layout.values(name)
        env = {key: fill(text, values) for key, text in service.env.items()} | dict(overrides.get(name, {}))
        spawner = spawner_of(layout, name, control, python, env)
        units.append(elsewhere(name, spawner) or _service(layout, name, service, spawner, python, isolation))
    return units


def spawner_of(layout: Layout, name: str, control: Control, python: str, env: Mapping[str, str]) -> Spawner:
    """Starts what is called `name` in a directory of its own, which is made."""
    directory = layout.service_dir(name)
    directory.mkdir()
    (directory / "tmp").mkdir()
    layout.log_path(name).touch()
    return Spawner(control, {**layout.base_env(name, python), **env}, directory, layout.log_path(name))


def _service(layout: Layout, name: str, service: Service, spawner: Spawner, python: str, isolation: str) -> ServiceUnit:
    probe, needs = probe_of(layout, name, python, isolation), needs_of(layout, name)
    mounted = _mounted(layout, name, isolation)
    if service.use is not None:
        recipe, told = RECIPES[service.use], context(layout, name, python, isolation)
        return ServiceUnit(name, needs, service.timeout, spawner, lambda: recipe.render(told).after(mounted), probe)
    argv = _argv(service.command or service.job or [], layout.values(name), python)
    plan = Plan(Command(argv, cwd=layout.root), mounted)
    return ServiceUnit(name, needs, service.timeout, spawner, lambda: plan, probe)


def needs_of(layout: Layout, name: str) -> frozenset[str]:
    """The units that must be ready before a service begins."""
    service = layout.services[name]
    texts = [text for _, text in service.texts()]
    made = {f"artefact/{what}" for text in texts for kind, what in placeholders(text) if kind == "artefact"}
    after = [other for other in service.after if other in layout.services]
    return frozenset((*hard_needs(layout.file, name), *after)) | made


def _artefact(layout: Layout, name: str, artefact: Artefact, spawner: Spawner, python: str) -> ArtefactUnit:
    def command(directory: Path) -> Command:
        return Command(_argv(artefact.command, {"dir": str(directory)}, python), cwd=layout.root)

    build = Build(name, layout.artefacts[name], scratch_dir(layout.directory.name))
    return ArtefactUnit(name, artefact.timeout, spawner, build, command)


def _links(layout: Layout, spawner: Spawner, python: str) -> ServiceUnit:
    config, ready = spawner.directory / "links.json", spawner.directory / "ready"
    links = {
        name: {"listen": layout.links[name], "to": layout.port(link.to)}
        for name, link in layout.file.spec.links.items()
    }
    control = str(layout.links_control)
    config.write_bytes(orjson.dumps({"links": links, "ready": str(ready), "control": control}))
    plan = Plan(Command((python, "-m", "harness.stack.proxy", str(config))))
    return ServiceUnit(LINKS, frozenset(), 30.0, spawner, lambda: plan, lambda: "" if ready.exists() else None)


def _argv(words: Sequence[str], values: Mapping[str, str], python: str) -> tuple[str, ...]:
    filled = [fill(word, values) for word in words]
    return tuple([python, *filled[1:]] if filled[0] in ("python", "python3") else filled)


def bring_up(
    units: Sequence[Unit], layout: Layout, control: Control, emit: Callable[[Event], None], began: float
) -> dict[str, tuple[float, str]]:
    """Start the units, each when what it needs is ready; returns name -> (seconds since `began`, version or detail).

    Raises HarnessError service-failed or artefact-failed, naming the unit with its last log lines.
    """
    waiting = list(units)
    under_way: list[Unit] = []
    ready: dict[str, tuple[float, str]] = {}
    while waiting or under_way:
        status: Status = control.ask("status")["processes"]
        for unit in [unit for unit in waiting if unit.needs <= ready.keys()]:
            waiting.remove(unit)
            under_way.append(unit)
            _begin(unit, layout, emit)
        progressed = False
        for unit in list(under_way):
            try:
                done = unit.poll(status)
            except UnitFailed as error:
                raise _failed(unit, str(error), emit) from error
            if done:
                progressed = True
                under_way.remove(unit)
                ready[unit.name] = (round(time.monotonic() - began, 3), unit.detail)
                _tell_ready(unit, ready[unit.name], emit)
        _check_alive(units, ready, status, emit)
        if not progressed:
            time.sleep(POLL_SECONDS)
    return ready


def _begin(unit: Unit, layout: Layout, emit: Callable[[Event], None]) -> None:
    try:
        unit.begin()
    except UnitFailed as error:
        raise _failed(unit, str(error), emit) from error
    if isinstance(unit, ArtefactUnit):
        if unit.state != "cached":
            doing = "building" if unit.state == "building" else "waiting for another process that builds"
            emit(StackEvent(unit.name, "installing", detail=f"{doing} {unit.build.target}"))
    else:
        emit(StackEvent(unit.name, "starting"))


def _tell_ready(unit: Unit, told: tuple[float, str], emit: Callable[[Event], None]) -> None:
    if not isinstance(unit, ArtefactUnit) or unit.state != "cached":
        emit(StackEvent(unit.name, "healthy", told[0], told[1]))


def _check_alive(
    units: Sequence[Unit], ready: Mapping[str, object], status: Status, emit: Callable[[Event], None]
) -> None:
    """A service that dies while others are still starting fails the start."""
    for unit in units:
        process = status.get(unit.name)
        if unit.name in ready and process is not None and process["state"] == "exited" and process["code"] != 0:
            raise _failed(unit, "died while the stack was starting", emit)


def _failed(unit: Unit, how: str, emit: Callable[[Event], None]) -> HarnessError:
    lines = tail(unit.spawner.log)
    emit(StackEvent(unit.name, "failed", time.monotonic() - unit.began, f"{how}\n{lines}"))
    slug = "artefact-failed" if unit.artefact else "service-failed"
    said = f"; its last lines:\n{lines}" if lines else "; it wrote no log"
    return HarnessError(slug, f"{unit.name} {how}{said}", "The reason should stand in these lines; correct it.")
