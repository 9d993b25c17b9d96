"""`harness export`: what the client of a run recorded, for other tools."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from harness.core.errors import UsageError


def export(
    run: Path = typer.Argument(..., help="A run directory, for example results/latest", metavar="RUN"),
    form: str = typer.Option("hdr", "--format", help="hdr: HdrHistogram's log (.hlog); csv; json"),
    output: Path = typer.Option(None, "--output", "-o", help="A file; by default standard output"),
) -> None:
    """Write the latencies of a run second by second, for each name and outcome.

    Examples:

      harness export results/latest -o latest.hlog

      harness export results/latest --format csv -o latest.csv
    """
    from harness.results.export import FORMATS
    from harness.results.export import export as exported
    from harness.results.rundir import RunDir

    if form not in FORMATS:
        raise UsageError("bad-option", f"--format {form}", f"Formats: {', '.join(FORMATS)}.")
    if not any((run / "load").glob("*.jsonl")):
        raise UsageError("not-a-run", f"{run} holds no load/*.jsonl", "Name a directory under results/.")
    pieces = exported(RunDir(run), form)
    if output is None:
        sys.stdout.writelines(pieces)
        return
    try:
        with output.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
    except OSError as error:
        raise UsageError("file-unwritable", f"{output}: {error.strerror}", "Name another file.") from error
