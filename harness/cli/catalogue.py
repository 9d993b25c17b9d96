"""`harness fault catalogue`: each fault put on the running system under load, and a page of what it did."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.cli.options import RUNTIME


def catalogue_command(
    faults: list[str] = typer.Argument(None, help="Measure these; what is there of the others stays. Default: all"),
    out: Path = typer.Option(
        Path("docs/fault-catalogue"), "--out", help="Directory; the page stands beside it, as OUT.md"
    ),
    stack: Path = typer.Option(Path("stack.yaml"), "--stack", help="The stack file"),
    scenario: Path = typer.Option(Path("scenarios/mixed.py"), "--scenario", help="What the clients do"),
    runtime: str = RUNTIME,
    rate: float = typer.Option(20.0, "--rate", help="Requests a second"),
    page_only: bool = typer.Option(False, "--page", help="Measure nothing: write the page anew from what is there"),
) -> None:
    """Measure what each fault does to the system, and write a page of it.

    Takes half a minute a fault. What one fault does wrong does not lose the others: it is told at the end.

    Examples:

      harness fault catalogue pause kill
    """
    from rich.console import Console

    from harness.faults.registry import fault_called
    from harness.gate.catalogue import Lengths
    from harness.gate.catalogue_all import measure_all
    from harness.model.runtimes import wanted_runtime
    from harness.report.catalogue_files import write_page
    from harness.report.console import Progress

    console = Console(highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    for name in faults or ():
        fault_called(name)
    out.mkdir(parents=True, exist_ok=True)
    wrong: dict[str, str] = {}
    if not page_only:
        progress, lengths = Progress(say), Lengths(rate=rate)
        wrong = measure_all(
            stack,
            faults or (),
            scenario=scenario,
            out=out,
            emit=progress,
            say=say,
            lengths=lengths,
            runtime=wanted_runtime(runtime),
        )
    say(f"page: {write_page(out)}")
    for name, why in wrong.items():
        say(f"not measured: {name}: {why}")
    if wrong:
        raise typer.Exit(4)
