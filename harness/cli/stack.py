"""`harness stack`: bring the services up, look at them, take them down, install what they need."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from harness.cli.install import install_command
from harness.cli.options import parse_overrides
from harness.core.errors import UsageError
from harness.report.console import Progress
from harness.stack.runtime import down as down_stack
from harness.stack.runtime import find_running, list_running, up

app = typer.Typer(help="The running system: services, links and what they need.", no_args_is_help=True)
console = Console(highlight=False)


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


@app.command("up")
def up_command(
    file: Path = typer.Argument(Path("stack.yaml"), help="The stack file"),
    settings: list[str] = typer.Option([], "--set", help="Environment of a service: SERVICE.NAME=VALUE"),
) -> None:
    """Start the services and leave them running; `harness run` and `pytest -m slo` then use them."""
    running = find_running(file, parse_overrides(settings))
    if running is None:
        running = up(file, lease=False, emit=Progress(_say), overrides=parse_overrides(settings), allow_reuse=False)
    _say(f"stack {running.id} is up; requests go to http://{running.address(running.file.spec.target)}")
    _say("harness stack status shows it, harness stack down ends it")


@app.command()
def status(file: Path = typer.Argument(Path("stack.yaml"), help="The stack file")) -> None:
    """The services of the running stack: state, version, memory, address."""
    running = find_running(file)
    if running is None:
        _say("no stack is up; harness stack up starts one")
        raise typer.Exit(3)
    shown = Table(title=f"stack {running.id} ({running.runtime}, {running.isolation})", title_justify="left")
    for name in ("service", "state", "version", "pid", "MiB", "address"):
        shown.add_column(name, justify="right" if name in ("pid", "MiB") else "left")
    resident = running.rss_bytes()
    for one in running.services():
        memory = f"{resident[one.name] / 2**20:.0f}" if one.name in resident else "-"
        shown.add_row(one.name, one.state, one.version or "-", str(one.pid or "-"), memory, ", ".join(one.addresses))
    console.print(shown)


@app.command()
def down(identity: str = typer.Argument("", help="Which stack, if more than one is up")) -> None:
    """End a stack that `harness stack up` started; nothing of it is left."""
    running = list_running()
    names = [one.id for one in running]
    if identity and identity not in names:
        raise UsageError("stack-unknown", f"no stack {identity} is up", f"Up are: {', '.join(names) or 'none'}.")
    if not identity and len(names) > 1:
        raise UsageError("stack-ambiguous", f"{len(names)} stacks are up", f"Name one of {', '.join(names)}.")
    for name in [identity] if identity else names:
        down_stack(name)
        _say(f"stack {name} is down")
    if not names:
        _say("no stack is up")


app.command("install")(install_command)
