"""`harness fault`: what can be broken here, and breaking it by hand. Each fault is a command, made from the model of
its parameters when it is asked for, so that `harness --help` need not import them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from harness.cli.catalogue import catalogue_command

_STACK = typer.Option(Path("stack.yaml"), "--stack", help="The stack file")


class Faults(TyperGroup):
    """The commands of this group, and one for each fault."""

    def list_commands(self, ctx: Any) -> list[str]:
        from harness.faults.registry import FAULTS

        return [*super().list_commands(ctx), *FAULTS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from harness.cli.fault_command import command_for
        from harness.faults.registry import FAULTS

        own = super().get_command(ctx, cmd_name)
        return own if own is not None or cmd_name not in FAULTS else command_for(FAULTS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        from harness.faults.registry import fault_called

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            fault_called(args[0])  # says what may be meant
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Faults,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Break something of the running stack for a while, by hand; undone whatever happens.",
)


@app.command("list")
def list_command(
    stack: Path = _STACK,
    as_json: bool = typer.Option(False, "--json", help="The same as data, with keys that stay"),
) -> None:
    """Each fault, what of this stack it can be put on here, and where not, why. Nothing has to be up.

    Examples:

      harness fault list

      harness fault list --json | jq -r '.faults[] | select(.impossible != {}) | .fault'
    """
    from rich.console import Console

    from harness.core.jsonio import canonical
    from harness.faults.registry import FAULTS
    from harness.model.stackfile import load_stackfile
    from harness.report.faults import Possible, print_faults
    from harness.stack.availability import unavailable

    file, _ = load_stackfile(stack.resolve())
    missing = unavailable(file)
    found = [Possible.of(made, file, missing) for made in FAULTS.values()]
    if as_json:
        data = {"schema": 1, "stack": file.metadata.name, "faults": [one.as_dict() for one in found]}
        typer.echo(canonical(data).decode(), nl=False)
    else:
        print_faults(found, Console(highlight=False))


app.command("catalogue")(catalogue_command)
