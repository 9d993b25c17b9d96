"""What runs would do and could decide, for people: phases, promises with their samples, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.core.duration import format_duration
from harness.gate.preview import PlannedPhase, Preview, PreviewedFault, Promise
from harness.report.fitness import reasons

_STYLE = {"cannot be decided": "red", "can be decided": "green"}


def print_preview(one: Preview, console: Console) -> None:
    """One validation, readable at 80 columns; what cannot be decided stands below the tables, with what would."""
    load = [one.executor, one.shape, f"{one.users} users", _number(one.workers, "worker")]
    _line(console, f"{one.name} ({one.profile}): {_near(one.path)}")
    _line(console, f"  scenario  {_near(one.scenario)}")
    _line(console, f"  stack     {one.stack}, needs {', '.join(one.needs)}")
    _line(console, f"  load      {', '.join(part for part in load if part)}")
    for phase in one.phases:
        _line(console, f"  {phase.name:<9} {_phase(phase)}")
    for fault in one.faults:
        _line(console, f"  {'fault':<9} {_fault(fault)}")
    if one.faults:
        _line(console, f"  {'':<9} latency need not have settled under faults")
    console.print(_table(one.promises))
    for promise in one.objectives:
        for role, query in (promise.queries or {}).items():
            seen = ", ".join(f"{count} scrapes of {job}" for job, count in (promise.scrapes or {}).items())
            _line(console, f"  {promise.name.split()[0]} {role}: {query}" + (f"  ({seen})" if seen else ""))
    for promise in one.promises:
        if promise.state == "cannot be decided":
            _line(console, f"cannot be decided: {promise.name}: {promise.why}")
    for line in reasons(one.forecast):
        _line(console, line)
    console.print()


def print_summary(previews: Sequence[Preview], seconds: float | None, errors: int, console: Console) -> None:
    """What holds for all of them, in the last lines."""
    if previews:
        how = "as many an arrival as in the last run" if any(one.sampled for one in previews) else "one an arrival"
        _line(console, f"samples are estimates ({how}): a scenario may record more or fewer")
        _line(console, "wants: how many of them decide if none is a miss")
    load = sum(phase.seconds for one in previews for phase in one.phases)
    took = "start-up unknown, no earlier run tells" if seconds is None else f"about {_length(seconds)} with start-up"
    sure = sum(one.decidable for one in previews)
    _line(
        console,
        f"{sure} of {_number(len(previews), 'validation')} can be decided in full; {_length(load)} of load, {took}"
        + (f"; {_number(errors, 'error')}" if errors else ""),
    )


def _table(promises: Sequence[Promise]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("", "promise", "samples", "wants"):
        number = name in ("samples", "wants")
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=name != "promise")
    for one in promises:
        each = " a window" if one.window_seconds is not None else ""
        asked = one.state in ("can be decided", "by users") or (one.state == "cannot be decided" and one.wanted > 1)
        wants = "by scatter" if one.state == "by scatter" else str(one.wanted) if asked else "-"
        known = "as users make" if one.planned is None else one.planned
        samples = f"{known}{each}" if one.queries is None or asked else "-"
        table.add_row(Text(one.state, _STYLE.get(one.state, "")), one.name, samples, wants)
    return table


def _phase(phase: PlannedPhase) -> str:
    arrivals = "" if phase.arrivals is None else f", {_number(phase.arrivals, 'arrival')}"
    return f"{_length(phase.seconds)}{arrivals}" + ("" if phase.judged else ", not judged")


def _fault(fault: PreviewedFault) -> str:
    """As `latency on app->milvus, from 5s to 15s of the steady phase: delay 20ms`."""
    given = ", ".join(f"{name} {value}" for name, value in fault.parameters.items() if str(value) != fault.target)
    on = f" on {fault.target}" if fault.target else ""
    begin, end = (format_duration(one * 1e9) if one else "0s" for one in (fault.at, fault.at + fault.seconds))
    return f"{fault.fault}{on}, {begin} to {end} of the steady phase" + (f": {given}" if given else "")


def _length(seconds: float) -> str:
    return format_duration((round(seconds) if seconds > 10 else seconds) * 1e9)


def _near(path: str) -> str:
    """As seen from where the reader stands."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
