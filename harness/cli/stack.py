"""`harness stack`: bring the services up, look at them, take them down, install what they need."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.cli.install import install_command
from harness.cli.logs import logs_command
from harness.cli.options import APP, RUNTIME, parse_overrides
from harness.core.errors import UsageError

app = typer.Typer(help="The running system: services, links and what they need.", no_args_is_help=True)


def _say(line: str) -> None:
    from rich.console import Console

    Console(highlight=False).print(line, markup=False, soft_wrap=True)


@app.command("up")
def up_command(
    file: Path = typer.Argument(Path("stack.yaml"), help="The stack file"),
    settings: list[str] = typer.Option([], "--set", help="Environment of a service: SERVICE.NAME=VALUE"),
    runtime: str = RUNTIME,
    app: str = APP,
) -> None:
    """Start the services and leave them running; `harness run` and `pytest -m slo` then use them."""
    from harness.model.runtimes import wanted_runtime, with_app
    from harness.model.stackfile import load_stackfile
    from harness.report.console import Progress
    from harness.stack.docker.choice import choose
    from harness.stack.runtime import find_running, up

    wanted, overrides = with_app(app, wanted_runtime(runtime)), parse_overrides(settings)
    progress = Progress(_say)
    running = find_running(file, overrides, runtime=None if wanted == "auto" else wanted, app=app)
    if running is None:
        choice = choose(wanted, load_stackfile(file.resolve())[0], progress)
        for event in choice.events:
            progress(event)
        running = up(
            file,
            lease=False,
            emit=progress,
            overrides=overrides,
            allow_reuse=False,
            runtime=choice.runtime,
            app=app,
        )
    _say(f"stack {running.id} is up; requests go to http://{running.address(running.file.spec.target)}")
    _say("harness stack status shows it, harness stack down ends it")


@app.command()
def status(file: Path = typer.Argument(Path("stack.yaml"), help="The stack file")) -> None:
    """The services of the running stack: state, version, memory, address."""
    from rich.console import Console

    from harness.report.status import print_status
    from harness.stack.runtime import find_running, list_running

    running = find_running(file)
    if running is None:
        others = [one.id for one in list_running() if one.path == str(file.resolve())]
        for name in others:
            _say(f"stack {name} of {file} is up, and runs will not use it: something of it, or of its files, changed")
            _say(f"harness stack down {name} ends it, harness stack logs SERVICE shows what its services said")
        if not others:
            _say("no stack is up; harness stack up starts one")
        raise typer.Exit(3)
    print_status(running, Console(highlight=False))


@app.command()
def down(identity: str = typer.Argument("", help="Which stack, if more than one is up")) -> None:
    """End a stack that `harness stack up` started; nothing of it is left."""
    from harness.stack.runtime import down as down_stack
    from harness.stack.runtime import list_running

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


app.command("logs")(logs_command)
app.command("install")(install_command)
