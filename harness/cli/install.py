"""`harness stack install`: list the servers that a stack needs, fetch those that are missing.

`python -m harness.cli.install` is the same command without the rest of `harness`: what
`make services` calls before everything.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome, exit_code, worst


def _say(line: str) -> None:
    from rich.console import Console

    Console(highlight=False).print(line, markup=False, soft_wrap=True)


def _stop(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)  # an ordinary end: what runs below is ended, what is half done removed


def install_command(
    names: list[str] = typer.Argument(
        None, help="Programs or sets of programs; all of them by default", metavar="NAME"
    ),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask"),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Say only what is done and what cannot be had"),
) -> None:
    """List the servers that a stack needs, and fetch those that are missing into your cache.

    Nothing outside your cache is written. What no distribution packages is compiled, once, which takes minutes.

    Exits with 3 when something could not be had; the rest is there nevertheless.
    """
    from rich.console import Console
    from rich.table import Table

    from harness.stack.install import install, table
    from harness.stack.tools import missing_tools, named_tools

    wanted = named_tools(names or ())
    failures: list[HarnessError] = []
    if missing := missing_tools([spec.name for spec in wanted]):
        for signum in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, _stop)
        failures = install(missing, confirm=lambda text: yes or typer.confirm(text), progress=_say)
    if not quiet:
        shown = Table(title="servers", title_justify="left")
        for name in ("tool", "version", "source", "where"):
            shown.add_column(name, overflow="fold")
        for row in table(wanted):
            shown.add_row(*row)
        Console(highlight=False).print(shown)
    for failure in failures:
        typer.echo(failure.render(), err=True)
    if failures or (missing and missing_tools([spec.name for spec in missing])):
        raise typer.Exit(exit_code(worst([Outcome.NOT_VALIDATED, *(failure.outcome for failure in failures)])))


def main() -> None:
    """The command on its own, with the messages and exit codes of `harness`."""
    try:
        typer.run(install_command)
    except HarnessError as error:
        typer.echo(error.render(), err=True)
        sys.exit(exit_code(error.outcome))


if __name__ == "__main__":
    main()
