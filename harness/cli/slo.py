"""`harness slo`: what Prometheus should watch all the time, and what is left of the error budgets."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.core.errors import UsageError
from harness.model.openslo_slo import load_service_levels
from harness.rules.burn_alerts import RUNBOOK, make_rules
from harness.rules.rule_file import write_rules

app = typer.Typer(help="SLOs beyond one run: burn-rate rules and error budgets.", no_args_is_help=True)


@app.command("rules")
def rules(
    files: list[Path] = typer.Argument(..., help="OpenSLO files, read together", metavar="FILE..."),
    output: Path = typer.Option(None, "--output", "-o", help="Where the rules go; by default they are printed"),
    runbook: str = typer.Option(RUNBOOK, help="Where alerts send people whose SLO names no runbook"),
) -> None:
    """Write Prometheus rules that record error ratios and alert when an error budget burns too fast.

    The windows and rates are those of the Site Reliability Workbook, scaled to each SLO's own window.

    Examples:

      harness slo rules slos/*.openslo.yaml -o slo.rules.yml

      harness slo rules slos/vector_search.openslo.yaml | promtool check rules /dev/stdin
    """
    made = make_rules(load_service_levels(files), runbook)
    text = write_rules(made, files)
    for name, why in made.left_out.items():
        typer.echo(f"left out: {name}: {why}", err=True)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError("file-unwritable", f"{output}: {error.strerror}", "Name another file.") from error
