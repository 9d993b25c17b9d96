"""`harness schema`: what an editor needs to complete and check our files."""

from __future__ import annotations

import json
from enum import StrEnum

import typer


class SchemaName(StrEnum):
    VALIDATION = "validation"
    STACK = "stack"


def schema(name: SchemaName = typer.Argument(SchemaName.VALIDATION, help="Which files", metavar="[NAME]")) -> None:
    """Print the JSON Schema of validations, or of stack files, for editors.

    Examples:

      harness schema validation > .vscode/validation.schema.json

      harness schema stack > .vscode/stack.schema.json
    """
    from harness.gate.schema import validation_schema
    from harness.model import stackfile
    from harness.model.json_schema import json_schema

    if name is SchemaName.VALIDATION:
        made = validation_schema()
    else:
        made = json_schema(stackfile.StackFile, "A stack of slo-harness")
    typer.echo(json.dumps(made, indent=2, ensure_ascii=False))
