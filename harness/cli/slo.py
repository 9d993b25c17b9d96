"""`harness slo`: what Prometheus should watch all the time, and what is left of the error budgets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import typer

from harness.core.errors import UsageError
from harness.core.outcome import exit_code, worst

app = typer.Typer(help="SLOs beyond one run: burn-rate rules and error budgets.", no_args_is_help=True)


@app.command("rules")
def rules(
    files: list[Path] = typer.Argument(..., help="OpenSLO files, read together", metavar="FILE..."),
    output: Path = typer.Option(None, "--output", "-o", help="Where the rules go; by default they are printed"),
    runbook: str = typer.Option(
        None, help="Where alerts send people whose SLO names no runbook; by default our own page"
    ),
) -> None:
    """Write Prometheus rules that record error ratios and alert when an error budget burns too fast.

    The windows and rates are those of the Site Reliability Workbook, scaled to each SLO's own window.

    Examples:

      harness slo rules slos/*.openslo.yaml -o slo.rules.yml

      harness slo rules slos/vector_search.openslo.yaml | promtool check rules /dev/stdin
    """
    from harness.model.openslo_slo import load_service_levels
    from harness.rules.burn_alerts import RUNBOOK, make_rules
    from harness.rules.rule_file import write_rules

    made = make_rules(load_service_levels(files), runbook or RUNBOOK)
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


@app.command("budget")
def budget(
    files: list[Path] = typer.Argument(..., help="OpenSLO files, read together", metavar="FILE..."),
    prometheus: str = typer.Option(..., help="The Prometheus that knows, for example http://localhost:9090"),
    at: str = typer.Option(None, help="The moment, as 2026-03-01T12:00:00Z or in seconds; by default now"),
) -> None:
    """Print each error budget: what is consumed, how fast it burns, when nothing will be left.

    Exits with 0 when something is left of each, 1 when one is exhausted, 3 without enough data, 4 for queries that
    are wrong.

    Examples:

      harness slo budget slos/*.openslo.yaml --prometheus http://localhost:9090
    """
    from rich.console import Console

    from harness.model.openslo_slo import load_service_levels
    from harness.report.budgets import print_budgets
    from harness.rules.budgets import read_budgets
    from harness.rules.expressions import unmeasurable
    from harness.telemetry.metrics import PrometheusStore

    try:
        moment = _moment(at) if at is not None else datetime.now(UTC)
    except ValueError as error:
        raise UsageError("bad-option", f"--at: {error}", "Write for example 2026-03-01T12:00:00Z.") from None
    if not prometheus.startswith(("http://", "https://")):
        raise UsageError("bad-option", f"--prometheus {prometheus} is not a URL", "Write http://localhost:9090.")
    levels = load_service_levels(files)
    store = PrometheusStore(prometheus, timeout=60.0)  # a month at once takes a while
    try:
        budgets = read_budgets(store, levels, moment)
    finally:
        store.close()
    for level in levels:
        if (why := unmeasurable(level)) is not None:
            typer.echo(f"left out: {level.name}: {why}", err=True)
    print_budgets(budgets, Console(highlight=False))
    raise typer.Exit(exit_code(worst(one.outcome for one in budgets)))


def _moment(text: str) -> datetime:
    """A moment as RFC 3339 with a zone, or in seconds since the epoch. Raises ValueError."""
    try:
        moment = datetime.fromtimestamp(float(text), UTC)
    except ValueError:
        moment = datetime.fromisoformat(text)
    except (OverflowError, OSError):
        raise ValueError(f"{text} seconds is out of range") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write for example 2026-03-01T12:00:00Z")
    if not 1970 <= moment.year <= 2200:
        raise ValueError(f"{text!r} is not between 1970 and 2200")
    return moment
