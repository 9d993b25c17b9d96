"""`harness stack logs`: what a service of the running stack said."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from harness.stack.logs import LoggedStack


POLL_SECONDS = 0.2


def logs_command(
    service: str = typer.Argument(..., help="A service; also links, and artefact.NAME", metavar="SERVICE"),
    lines: int = typer.Option(50, "-n", "--lines", min=0, help="How many of the last lines of each log"),
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on with what is added, until Ctrl-C or the end"),
    file: Path = typer.Option(Path("stack.yaml"), "--stack", help="The stack file"),
) -> None:
    """Show the last lines that a service of the running stack wrote; its structured log too, if it keeps one.

    What services said during a run that has ended stands in its run directory, under logs/.

    Examples:

      harness stack logs app

      harness stack logs milvus -n 200

      harness stack logs app -f
    """
    from harness.model.stackfile import load_stackfile
    from harness.stack.logs import check_name, last_lines, logged_stacks

    found = logged_stacks(file)
    if not found:
        load_stackfile(file)  # a name that leads nowhere is a mistake of its own
        typer.echo("no stack is up; harness stack up starts one", err=True)
        raise typer.Exit(3)
    stack = found[0]
    check_name(stack, service, file)
    if len(found) > 1:
        typer.echo(f"{len(found)} stacks of {file} are up; this is {stack.id}", err=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter is no reason to fail
    if follow:
        with contextlib.suppress(KeyboardInterrupt):  # how following ends
            _follow(stack, service, lines)
        return
    files = stack.files(service)
    writer = _Writer(headed=len(files) > 1)
    for path in files:
        writer.write(path, last_lines(path, lines))
    if not any(path.stat().st_size for path in files if path.exists()):
        typer.echo(f"{service} has written nothing yet", err=True)


def _follow(stack: LoggedStack, service: str, lines: int) -> None:
    from harness.stack.logs import Follower

    follower = Follower(stack, service)
    try:
        began = list(follower.begin(lines))
        writer = _Writer(headed=len(began) > 1)
        for path, some in began:
            writer.write(path, some)
        live = True
        while live:
            live = stack.live  # asked first, so that what came before the end is not missed
            for path, some in follower.added(final=not live):
                writer.write(path, some)
            if live:
                time.sleep(POLL_SECONDS)
    finally:
        follower.close()


class _Writer:
    """Writes lines, as `tail` does with a head where another file goes on if there is more than one."""

    def __init__(self, *, headed: bool) -> None:
        self._headed = headed
        self._last: Path | None = None

    def write(self, path: Path, lines: list[str]) -> None:
        if self._last is not None and path != self._last:
            self._headed = True  # a second one appeared
        if self._headed and path != self._last:
            gap = "\n" if self._last is not None else ""
            sys.stdout.write(f"{gap}==> {path.name} <==\n")
        self._last = path
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
