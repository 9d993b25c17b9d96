"""The terminal: what is happening while it happens, then the verdict table and where the run is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.core.outcome import Outcome
from harness.model.events import Event, FaultEvent, LoadTick, LogEvent, PhaseEvent, RunEvent, StackEvent
from harness.model.finding import Finding, Verdict
from harness.report.fault_lines import fault_line
from harness.slo.statistics.confidence import CONFIDENCE
from harness.slo.thresholds import show, show_interval

STYLE = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.ERROR: "magenta",
    Outcome.INTERRUPTED: "yellow",
}
WIDE = 104  # columns from which on the table shows intervals
INTERVAL = f"{CONFIDENCE:.0%} interval"
TICK_EVERY = 5  # seconds between lines of progress where the line cannot be rewritten


class Progress:
    """An event handler that writes one line for each thing worth knowing; `write` gets plain text without newline."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._ticks = 0

    def __call__(self, event: Event) -> None:
        line = self._line(event)
        if line:
            self._write(line)

    def _line(self, event: Event) -> str:
        if isinstance(event, RunEvent) and event.state != "end":
            return f"{event.name}: {event.state if event.state != 'begin' else 'run begins'}"
        if isinstance(event, StackEvent):
            return _stack_line(event)
        if isinstance(event, PhaseEvent) and event.edge == "begin":
            self._ticks = 0
            length = f" for {event.seconds:.0f} s" if event.seconds else ""
            return f"  {event.phase}{length}" if event.phase != "setup" else ""
        if isinstance(event, LoadTick):
            self._ticks += 1
            return _tick_line(event) if self._ticks % TICK_EVERY == 0 else ""
        if isinstance(event, FaultEvent):
            return f"    fault: {fault_line(event)}"
        if isinstance(event, LogEvent):
            return f"  {event.level}: {event.message}"
        return ""


def _stack_line(event: StackEvent) -> str:
    detail = f"  {event.detail}" if event.detail else ""
    if event.state in ("healthy", "ready"):
        return f"  {event.service:<17} {event.state:<9} {event.seconds:6.1f} s{detail}"
    if event.state == "starting":
        return ""
    return f"  {event.service:<17} {event.state}{detail}"


def _tick_line(tick: LoadTick) -> str:
    p99 = f"p99 {tick.p99_ms:.0f} ms" if tick.p99_ms is not None else "no reply yet"
    return (
        f"    {tick.elapsed:4.0f} s, {tick.remaining:3.0f} s left: {tick.done} replies, "
        f"{tick.errors} errors, {tick.in_flight} under way, {p99}"
    )


def verdict_table(verdict: Verdict, width: int) -> Table:
    """Outcome, observed value, target, margin and number of samples of each finding; the interval of what was observed
    where `width` columns have room for it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    names = ["outcome", "finding", "observed", "target", "margin", "samples"]
    if width >= WIDE:
        names.insert(3, INTERVAL)
    for name in names:
        text = name in ("outcome", "finding")
        table.add_column(name, justify="left" if text else "right", overflow="fold", no_wrap=name != "finding")
    for finding in verdict.findings:
        row = _row(finding)
        table.add_row(*(row[name] for name in names))
    return table


def reasons(verdict: Verdict) -> list[str]:
    """One line for each finding that did not pass: which, and why."""
    return [
        f"{finding.outcome}: {_name(finding)}: {finding.reason}" + (f" [{finding.slug}]" if finding.slug else "")
        for finding in verdict.findings
        if finding.outcome is not Outcome.PASS
    ]


def _name(finding: Finding) -> str:
    """The id without what stands in the target's column: `latency{name:search} p(95)`."""
    if finding.id.startswith("thresholds/") and finding.operator:
        selector, condition = finding.id.removeprefix("thresholds/").rsplit("/", 1)
        return f"{selector} {condition.split(finding.operator)[0].strip()}"
    return finding.id.removeprefix("objectives/")


def _row(finding: Finding) -> dict[str, Text | str]:
    """By the heads of the columns."""
    observed = "-" if finding.observed is None else show(finding.observed, finding.unit)
    interval = "" if finding.interval is None else show_interval(finding.interval, finding.unit)
    target = "-" if finding.target is None else f"{finding.operator} {show(finding.target, finding.unit)}"
    margin = "-" if finding.margin is None else _share(finding.margin)
    return {
        "outcome": Text(finding.outcome, STYLE.get(finding.outcome, "yellow")),
        "finding": _name(finding),
        "observed": observed,
        INTERVAL: interval,
        "target": target,
        "margin": margin,
        "samples": str(finding.samples or "-"),
    }


def _share(margin: float) -> str:
    """A margin in whole percent, or as finely as it takes to tell on which side of the target it is."""
    return f"{margin:+.2%}" if 0 < abs(margin) < 0.005 else f"{margin + 0.0:+.0%}"


def print_verdicts(results: Sequence[tuple[Verdict, str]], console: Console) -> None:
    """The table of each verdict, why it is not a pass, and the directory of its run."""
    for verdict, path in results:
        console.print()
        console.print(
            Text(f"{verdict.name}: {verdict.outcome.upper()}", STYLE.get(verdict.outcome, "yellow") + " bold")
        )
        console.print(verdict_table(verdict, console.width))
        for reason in reasons(verdict):
            console.print(reason, markup=False, soft_wrap=True)
        if verdict.unavailable:
            console.print(f"this machine ran it without {', '.join(verdict.unavailable)}", markup=False, soft_wrap=True)
        console.print(f"run: {path}", markup=False, soft_wrap=True)
