"""All faults one after the other on one system, each with a file of its own, written as soon as it is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.jsonio import write_json
from harness.faults.examples import EXAMPLES, PROVOKED_BY
from harness.faults.making import impossible, read, target_of, wrong_target
from harness.faults.registry import FAULTS
from harness.gate.catalogue import LENGTHS, SCHEMA, TIMEOUT, Lengths, measure
from harness.gate.session import Session
from harness.model.events import Event
from harness.stack.handle import Stack
from harness.telemetry.targets import await_targets


def measure_all(
    stackfile: Path,
    names: Sequence[str],
    *,
    scenario: Path,
    out: Path,
    emit: Callable[[Event], None],
    say: Callable[[str], None],
    lengths: Lengths = LENGTHS,
    runtime: str = "local",
) -> dict[str, str]:
    """Writes `<out>/<fault>.json` for each; returns those that went wrong, and how. One that cannot be had here has a
    file that says so, which is nothing wrong. A stack that is not as it was is replaced."""
    wrong: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(Path(scratch), runtime=runtime)
        try:
            for number, name in enumerate(names or FAULTS, 1):
                stack = session.stack(stackfile.resolve(), emit)
                _await_metrics(stack)
                say(f"{number}/{len(names or FAULTS)} {name}")
                if why := why_not(stack, name):
                    say(f"  not here: {why}")
                    write_json(out / f"{name}.json", _missing(name, why))
                    continue
                try:
                    told = measure(
                        stack,
                        name,
                        EXAMPLES[name],
                        provoked_by=PROVOKED_BY.get(name),
                        scenario=scenario.resolve(),
                        results=Path(scratch),
                        emit=emit,
                        lengths=lengths,
                    )
                except HarnessError as error:
                    wrong[name] = error.render()
                    say(f"  {wrong[name]}")
                else:
                    write_json(out / f"{name}.json", told)
        finally:
            session.close()
    return wrong


def _missing(name: str, why: str) -> dict[str, Any]:
    return {"schema": SCHEMA, "fault": name, "kind": FAULTS[name].kind, "missing": why, "timeout": TIMEOUT}


def why_not(stack: Stack, name: str) -> str:
    """Why a fault cannot be put on this stack here; '' if it can."""
    if name not in EXAMPLES:
        return "it has no example"
    made = FAULTS[name]
    parameters = read(made, EXAMPLES[name])
    if (wrong := wrong_target(made, stack.file, parameters)) is not None:
        return wrong.cause
    found = impossible(made, stack.file, target_of(made, stack.file, parameters), stack.unavailable)
    return found[0] if found else ""


def _await_metrics(stack: Stack) -> None:
    name = next((one for one, service in stack.file.spec.services.items() if service.use == "prometheus"), "")
    if name and name not in stack.unavailable:
        await_targets(f"http://{stack.address(f'{name}.http')}", stack.scrape())
