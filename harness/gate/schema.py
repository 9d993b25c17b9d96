"""The JSON Schema of validations with all faults in it, which the model alone does not know."""

from __future__ import annotations

from typing import Any

from harness.faults.fault import Fault
from harness.faults.registry import FAULTS
from harness.model import validation
from harness.model.json_schema import json_schema, written


def validation_schema() -> dict[str, Any]:
    """Of validations as they are written: each entry of `faults` is one of those there are, with its parameters."""
    schema = json_schema(validation.File, "A validation of slo-harness", tuple(validation.NOT_BUILT))
    entry = schema["$defs"].pop("FaultEntry")
    schema["$defs"]["Fault"] = {
        "description": entry["description"],
        "anyOf": [_entry(made, entry["properties"], schema["$defs"]) for made in FAULTS.values()],
    }
    schema["$defs"]["Spec"]["properties"]["faults"]["items"] = {"$ref": "#/$defs/Fault"}
    return schema


def _entry(made: type[Fault], times: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    takes = written(made.takes.model_json_schema())
    definitions |= takes.pop("$defs", {})
    takes["properties"].pop("lasting")  # that is `for`
    for field in takes["properties"].values():
        field.pop("main", None)  # of the command line
    takes["title"] = made.name
    takes["type"] = "object" if takes.get("required") else ["object", "null"]
    return {
        "type": "object",
        "properties": {made.name: takes, **times},
        "required": [made.name],
        "additionalProperties": False,
    }
