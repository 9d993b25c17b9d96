"""A Prometheus rule file, written so that people can read it: long expressions as blocks, nothing folded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from harness.rules.burn_alerts import Rules


def write_rules(rules: Rules, files: Sequence[Path]) -> str:
    """The text of a rule file; files: what the rules were made of, named in its head. Equal rules give equal text."""
    head = [
        f"# Made by `harness slo rules` from {', '.join(path.name for path in files)}; change that and make it anew."
    ]
    head += [f"# Without {name}: {why}." for name, why in rules.left_out.items()]
    yaml = YAML()
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    body = io.StringIO()
    yaml.dump({"groups": [_blocks(group) for group in rules.groups]}, body)
    return "\n".join(head) + "\n" + body.getvalue()


def _blocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _blocks(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_blocks(part) for part in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value
