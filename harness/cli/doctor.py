"""`harness doctor`: whether this machine is fit, before anybody loses time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness import __version__
from harness.cli.options import RUNTIME
from harness.core.jsonio import canonical
from harness.core.outcome import ExitCode

if TYPE_CHECKING:
    from harness.gate.forecast import Forecast
    from harness.gate.plan import Planned
    from harness.stack.machine.examine import Examination, Subject

STACK = Path("stack.yaml")
SCHEMA = 1  # of what --json prints
_OF_ONE_STACK = frozenset({"programs", "ports", "memory", "runtime"})  # problems that another stack need not have


def doctor(
    stack: Path = typer.Argument(None, help="The stack file; by default stack.yaml, if it is there", metavar="[STACK]"),
    validations: list[Path] = typer.Option(
        [], "--validations", help="Files or directories; by default slos/ next to the stack file", metavar="PATH"
    ),
    runtime: str = RUNTIME,
    as_json: bool = typer.Option(False, "--json", help="The same as data, with keys that stay"),
) -> None:
    """Say whether this machine is fit: programs, rights, room, quiet, clocks; and which validations will run.

    It starts no service and contacts no other machine. What each check means: docs/doctor.md.

    Exits with 0 when all would be validated, 3 when not, 2 for a file that cannot be read.

    Examples:

      harness doctor                                        # this project

      harness doctor --validations slos/vector_search.yaml  # one validation

      harness doctor --json | jq '.checks[] | select(.state != "ok")'
    """
    from rich.console import Console

    from harness.gate.preview import users_of
    from harness.model.runtimes import wanted_runtime
    from harness.report.fitness import print_fitness
    from harness.stack.machine.examine import examine
    from harness.stack.machine.moments import DEFAULT_LATENESS_NS

    wanted = wanted_runtime(runtime)
    path = stack if stack is not None else STACK if STACK.is_file() else None
    planned = _plan(path, validations)
    if path is None and planned:
        path = planned[0].validation.stack_path
    subject = _subject(path) if path is not None else None
    for other in {one.validation.stack_path for one in planned} - {path}:
        _subject(other)
    examination = examine(
        subject,
        wanted=wanted,
        users=max((users_of(one.validation.load) for one in planned), default=None),
        lateness_ns=min((one.validation.load.maxLateness for one in planned), default=DEFAULT_LATENESS_NS),
    )
    forecasts = _forecasts(planned, subject, examination, wanted)
    fit = not examination.problems and all(one.complete for one in forecasts)
    if as_json:
        sys.stdout.write(canonical(_data(subject, examination, forecasts, fit)).decode())
    else:
        console = Console(highlight=False)
        if subject is None:
            console.print("no stack.yaml here: the machine alone is looked at\n", markup=False, soft_wrap=True)
        print_fitness(examination, forecasts, console)
    raise typer.Exit(ExitCode.PASS if fit else ExitCode.UNDECIDED)


def _plan(path: Path | None, places: Sequence[Path]) -> list[Planned]:
    """The validations that were asked for, read. Raises UsageError, located."""
    from harness.gate.forecast import find_validations
    from harness.gate.plan import plan

    if not places and path is not None and (usual := path.resolve().parent / "slos").is_dir():
        files = find_validations([usual], required=False)
    else:
        files = find_validations(places)
    return [one for file in files for one in plan(file)]


def _subject(path: Path) -> Subject:
    """The stack file with all that it names, as bringing it up would read it. Raises UsageError, located."""
    from harness.model.stackfile import load_stackfile
    from harness.stack.artefacts import artefact_paths
    from harness.stack.machine.examine import Subject
    from harness.stack.runtime import check_config

    path = path.resolve()
    file, document = load_stackfile(path)
    check_config(file, document, path.parent)
    with contextlib.suppress(OSError):  # a cache that may not be written is the disk check's to tell
        artefact_paths(file, document, path.parent)
    return Subject(path, file)


def _forecasts(
    planned: Sequence[Planned], subject: Subject | None, examination: Examination, wanted: str
) -> list[Forecast]:
    from harness.gate.forecast import Lack, forecast
    from harness.stack.docker.choice import look

    found = []
    for one in planned:
        same = subject is not None and one.validation.stack_path.resolve() == subject.path
        missing = examination.missing if same else look(wanted, one.stack)[0].missing
        problems = [check for check in examination.problems if same or check.name not in _OF_ONE_STACK]
        found.append(forecast(one, missing, [Lack(check.name, check.found, check.remedy) for check in problems]))
    return found


def _data(
    subject: Subject | None, examination: Examination, forecasts: Sequence[Forecast], fit: bool
) -> dict[str, object]:
    from harness.report.fitness import summary

    return {
        "schema": SCHEMA,
        "harness": __version__,
        "fit": fit,
        "summary": summary(examination, forecasts),
        "stack": {"name": subject.file.metadata.name, "path": str(subject.path)} if subject is not None else None,
        "checks": [check.as_dict() for check in examination.checks],
        "services": [one.as_dict() for one in examination.services],
        "validations": [one.as_dict() for one in forecasts],
    }
