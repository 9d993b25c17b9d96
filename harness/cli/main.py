"""The `harness` command."""

from __future__ import annotations

import sys

import typer

from harness import __version__
from harness.cli import fault, run, slo, stack
from harness.cli.calibrate import calibrate
from harness.cli.check import check
from harness.cli.doctor import doctor
from harness.cli.explain import explain
from harness.cli.export import export
from harness.cli.load import load
from harness.cli.schema import schema
from harness.core.errors import HarnessError
from harness.core.outcome import exit_code

app = typer.Typer(
    name="harness",
    help="Prove, before release, that an AI data system and the monitoring that watches it keep their promises.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 pass, 1 fail, 2 usage, 3 no-data, inconclusive or not-validated, 4 error, 130 interrupted.",
)
app.command("run")(run.run)
app.command("verdict")(run.verdict)
app.command("check")(check)
app.command("load")(load)
app.command("export")(export)
app.command("doctor")(doctor)
app.command("calibrate")(calibrate)
app.command("explain")(explain)
app.command("schema")(schema)
app.add_typer(stack.app, name="stack")
app.add_typer(slo.app, name="slo")
app.add_typer(fault.app, name="fault")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slo-harness {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print it.")) -> None:
    pass


def main() -> None:
    """Entry point: turns the errors that a user can act on into a message and their exit code."""
    try:
        app()
    except HarnessError as error:
        print(error.render(), file=sys.stderr)
        sys.exit(exit_code(error.outcome))


if __name__ == "__main__":
    main()
