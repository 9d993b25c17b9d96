"""Whether this machine is fit, for people: the programs, the checks, what would come of validations, and one line."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.gate.forecast import Forecast
from harness.stack.machine.check import Check
from harness.stack.machine.examine import Examination
from harness.stack.machine.programs import ServicePrograms

_STATES = ("ok", "warning", "problem")  # worst last: what a reader sees first stands at the end
_STYLE = {"ok": "green", "warning": "yellow", "problem": "red"}
_OUTCOME = {"runs": "will run", "not-validated": "not-validated", "error": "cannot run"}
_OUTCOME_STYLE = {"runs": "green", "not-validated": "yellow", "error": "magenta"}


def print_fitness(examination: Examination, forecasts: Sequence[Forecast], console: Console) -> None:
    """All of it, readable at 80 columns."""
    if examination.services:
        console.print(_programs(examination.services))
        for service in examination.services:
            if service.state != "ready" and service.slug != "needs-unavailable":
                _line(console, f"{service.service}: {service.cause}; remedy: {service.remedy}")
        console.print()
    console.print(_checks(examination.checks))
    console.print()
    if forecasts:
        console.print(_forecasts(forecasts))
        for line in (line for one in forecasts for line in reasons(one)):
            _line(console, line)
        console.print()
    _line(console, summary(examination, forecasts))


def reasons(forecast: Forecast) -> list[str]:
    """Why a validation, or objectives of it, would not be validated: one line each, none if all would."""
    outcome = _OUTCOME[forecast.state]
    lines = [f"{outcome}: {forecast.name}: {one.name}: {one.why}; remedy: {one.remedy}" for one in forecast.lacks]
    return lines + [
        f"not-validated: {forecast.name}: objective {one.name}: {one.why}; remedy: {one.remedy}"
        for one in forecast.objectives
    ]


def summary(examination: Examination, forecasts: Sequence[Forecast]) -> str:
    """One line over all."""
    fit = "not fit" if examination.problems else "fit"
    told = [_counted(forecasts) if forecasts else f"no validation was looked at; the machine is {fit}"]
    for state, words in (("not-validated", "will be not-validated"), ("error", "cannot run")):
        if names := [_named(one) for one in forecasts if one.state == state]:
            told.append(f"{len(names)} {words}: {', '.join(names)}")
    if lost := [objective.name for one in forecasts for objective in one.objectives]:
        told.append(f"{_number(len(lost), 'objective')} will be not-validated: {', '.join(lost)}")
    for state in ("problem", "warning"):
        if checks := [check.name for check in examination.checks if check.state == state]:
            told.append(f"{_number(len(checks), state)}: {', '.join(checks)}")
    return "; ".join(told)


def _counted(forecasts: Sequence[Forecast]) -> str:
    run = sum(one.state == "runs" for one in forecasts)
    if run == len(forecasts):
        return "the validation will run" if run == 1 else f"all {run} validations will run"
    return f"{run} of {_number(len(forecasts), 'validation')} will run"


def _named(forecast: Forecast) -> str:
    return f"{forecast.name} ({', '.join(one.name for one in forecast.lacks)})"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _table(*columns: str, folded: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name != folded)
    return table


def _programs(services: Sequence[ServicePrograms]) -> Table:
    table = _table("service", "program", "version", "source", folded="version")
    for one in services:
        for at, program in enumerate(one.programs):
            source = program.source or "path"
            table.add_row("" if at else one.service, program.name, program.version or "-", source)
        if one.state != "ready":
            missing = "missing" if one.slug in ("missing-binary", "missing-command") else one.slug
            style = _STYLE["warning" if one.state == "unavailable" else "problem"]
            table.add_row("" if one.programs else one.service, "-", "-", Text(missing, style))
        elif not one.programs:
            table.add_row(one.service, "-", "-", "the harness")
    return table


def _checks(checks: Sequence[Check]) -> Table:
    table = _table("state", "check", "found", folded="found")
    for check in sorted(checks, key=lambda check: _STATES.index(check.state)):
        found = Text(check.found)
        if check.remedy:
            found.append(f"\n{check.remedy}", "bold" if check.state == "problem" else "italic")
        table.add_row(Text(check.state, _STYLE[check.state]), check.name, found)
    return table


def _forecasts(forecasts: Sequence[Forecast]) -> Table:
    table = _table("outcome", "validation", "objectives left out", folded="validation")
    for one in forecasts:
        left_out = ", ".join(objective.name for objective in one.objectives) or "-"
        table.add_row(Text(_OUTCOME[one.state], _OUTCOME_STYLE[one.state]), one.name, left_out)
    return table
