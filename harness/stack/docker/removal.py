"""Removing by label what stacks have on an engine: one that ended, or all whose owner is dead. Standard library."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.core.errors import HarnessError
from harness.stack.docker.engine import Engine
from harness.stack.docker.labels import OWNER, STACK, is_dead

PATIENCE = 30.0  # seconds for an engine to remove what it was asked to
_PAUSE = 0.1  # seconds between two looks


def left(engine: Engine, stack_id: str) -> list[str]:
    """What of a stack is on the engine: `container NAME`, `network NAME`, `volume NAME`."""
    return [f"{kind} {name}" for kind, name, _ in _things(engine, [f"{STACK}={stack_id}"])]


def remove_stack(
    engine: Engine,
    stack_id: str,
    *,
    settle: float = 0.0,
    enough: Callable[[], bool] = lambda: False,
    patience: float = PATIENCE,
) -> None:
    """Remove a stack's containers, networks and volumes, and see that they are gone.

    settle: seconds for which nothing of it must have been there, as what a killed client had asked for may still be
    made; enough: tells that nobody will have asked, so that once is enough.
    Raises HarnessError engine-lost, and stack-lingers with what was left after `patience` seconds.
    """
    until = time.monotonic() + patience
    clear_since: float | None = None
    while True:
        found = _things(engine, [f"{STACK}={stack_id}"])
        now = time.monotonic()
        if found:
            clear_since = None
            said = _remove(engine, found)
        else:
            clear_since = now if clear_since is None else clear_since
            if now - clear_since >= settle or enough():
                return
        if now > until and found:
            names = ", ".join(f"{kind} {name}" for kind, name, _ in found)
            raise HarnessError(
                "stack-lingers",
                f"of stack {stack_id} the Docker engine did not remove {names} in {patience:.0f} s: {'; '.join(said)}",
                "Look at the engine's log; docker rm -f and docker network rm may tell more.",
            )
        time.sleep(_PAUSE)


def sweep(engine: Engine) -> list[str]:
    """Remove every stack whose owners are all certainly gone; returns their ids. One of another boot, machine or PID
    namespace is left to those who can tell. Raises HarnessError as `remove_stack`."""
    owners: dict[str, list[str]] = {}
    for _, _, labels in _things(engine, [STACK]):
        owners.setdefault(labels[STACK], []).append(labels.get(OWNER, ""))
    dead = sorted(stack_id for stack_id, told in owners.items() if all(map(is_dead, told)))
    for stack_id in dead:
        remove_stack(engine, stack_id)
    return dead


def _things(engine: Engine, labels: Iterable[str]) -> list[tuple[str, str, dict[str, str]]]:
    """Kind, name and labels of all that carries these, in the order in which it can be removed."""
    wanted = list(labels)
    containers = [("container", one["Id"], one["Labels"]) for one in engine.containers(wanted)]
    networks = [("network", one["Id"], one["Labels"]) for one in engine.networks(wanted)]
    return [*containers, *networks, *(("volume", one["Name"], one["Labels"]) for one in engine.volumes(wanted))]


def _remove(engine: Engine, found: Iterable[tuple[str, str, Any]]) -> list[str]:
    """Ask for the removal of each, containers at the same time; returns what the engine refused, which may go once the
    rest is gone."""
    by: dict[str, Callable[[str], None]] = {
        "container": engine.remove_container,
        "network": engine.remove_network,
        "volume": engine.remove_volume,
    }

    def remove(kind: str, name: str) -> str:
        try:
            by[kind](name)
        except HarnessError as error:
            if error.slug == "engine-lost":
                raise
            return error.cause
        return ""

    told: list[str] = []
    for wanted in by:
        names = [name for kind, name, _ in found if kind == wanted]
        if names:
            with ThreadPoolExecutor(len(names)) as pool:
                told += pool.map(remove, [wanted] * len(names), names)
    return [one for one in told if one]
