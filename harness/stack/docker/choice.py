"""Which runtime brings a stack up: what was asked for, or for `auto` Docker where it can, and why."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.model.events import Event, LogEvent
from harness.model.stackfile import StackFile
from harness.stack.availability import Unavailable, unavailable
from harness.stack.docker import have
from harness.stack.docker.bringup import not_local, refuse_remote
from harness.stack.docker.engine import Engine
from harness.stack.docker.hosts import find_host


@dataclass(frozen=True, slots=True)
class Choice:
    """runtime: local | docker; why: in words, '' where it was asked for and nothing is to be told; missing: services
    that cannot be had on it; engine: of the docker one."""

    runtime: str
    why: str
    missing: Mapping[str, Unavailable]
    engine: Engine | None = None

    @property
    def events(self) -> list[Event]:
        """What is to be told of it once."""
        return [LogEvent("info", f"runtime {self.runtime}: {self.why}")] if self.why else []


def choose(wanted: str, file: StackFile, emit: Callable[[Event], None], *, look_only: bool = False) -> Choice:
    """The runtime for a stack. Images that are not on the engine are pulled, and how far that is told to `emit`.

    look_only: pull nothing and ask no registry: what would have to be pulled counts as missing.
    auto takes Docker only where the engine answers, containers can reach this machine, and every image is there or was
    pulled. Raises HarnessError (not-validated) where docker was asked for: engine-unreachable, engine-not-local,
    image-unavailable; and runtime-not-built for external.
    """
    if wanted == "external":
        raise HarnessError(
            "runtime-not-built",
            f"the {wanted} runtime is not in this version",
            "Use --runtime local or docker (--slo-runtime under pytest).",
            outcome=Outcome.NOT_VALIDATED,
        )
    if wanted == "local":
        return Choice("local", "", unavailable(file))
    try:
        engine = find_engine()
        absent = have.absent(engine, file)
        told = f"engine {engine.version} at {engine.host}"
    except HarnessError as error:
        if wanted == "docker":
            raise
        return _local(file, error.cause)
    if not absent:
        return Choice("docker", told, {}, engine)
    if wanted == "auto" and (why := _first(absent) if look_only else have.cannot_pull(engine, absent)):
        return _local(file, why)
    if look_only:
        return Choice("docker", f"{told}; {len(absent)} images would be pulled first: {_first(absent)}", {}, engine)
    failed = have.pull(engine, absent, emit)
    if not failed:
        return Choice("docker", told, {}, engine)
    first = next(iter(failed.values()))
    if wanted == "docker":
        raise first
    return _local(file, first.cause)


def _local(file: StackFile, why: str) -> Choice:
    return Choice("local", f"not docker: {why}", unavailable(file))


def look(wanted: str, file: StackFile) -> tuple[Choice, HarnessError | None]:
    """What would be chosen, as far as that can be told without pulling anything or asking another machine; and what
    keeps a runtime that was asked for from being had."""
    try:
        return choose(wanted, file, lambda _: None, look_only=True), None
    except HarnessError as error:
        if error.outcome is not Outcome.NOT_VALIDATED:
            raise
        return Choice(wanted, error.cause, {}), error


def find_engine() -> Engine:
    """The engine, if its containers can reach this machine. Raises HarnessError engine-unreachable, engine-not-local
    (both not-validated), engine-lost."""
    refuse_remote(Engine(find_host()))  # before it is asked: auto contacts no other machine
    engine = Engine.find()
    for address in _gateways(engine.request("GET", "/networks/bridge")[1]):
        with socket.socket() as tried:
            try:
                tried.bind((address, 0))
            except OSError as error:
                raise not_local(f"its bridge's address {address} is none of this machine ({error})") from error
    return engine


def _gateways(network: Any) -> list[str]:
    """The IPv4 addresses that a network's containers know their host by; none for an engine without this network."""
    config = (network.get("IPAM") or {}).get("Config") if isinstance(network, dict) else None
    return [one["Gateway"] for one in config or () if "." in one.get("Gateway", "")]


def _first(absent: Mapping[str, str]) -> str:
    service, image = next(iter(absent.items()))
    return f"the image {image} of {service} is not on the engine yet"
