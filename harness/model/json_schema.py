"""JSON Schema of what we read, for editors: as the file is written, not as it is parsed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from harness.core.duration import format_duration

DIALECT = "https://json-schema.org/draft/2020-12/schema"
RATE: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000},
        {"type": "string", "pattern": r"^[0-9]+([.][0-9]+)?(/s)?$"},
    ],
    "description": "Arrivals a second, for example 120 or 120/s.",
}
_NS = {"ns": 1, "s": 1_000_000_000}
_UNIT = "x-unit"  # what a duration is once it is parsed; taken out again, with its help defaults are written as texts


def duration_schema(unit: Literal["ns", "s"]) -> dict[str, Any]:
    """A duration, which is a text in the file and a number of `unit` once it is parsed."""
    return {
        "type": "string",
        "pattern": r"^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h|d|w|y))+$",
        "description": "A duration, for example 200ms, 45s or 1m30s.",
        _UNIT: unit,
    }


def size_schema() -> dict[str, Any]:
    """A size, which is a text in the file and a number of bytes once it is parsed."""
    return {
        "type": "string",
        "pattern": r"^[0-9]+([.][0-9]+)?(B|kB|MB|GB|KiB|MiB|GiB)$",
        "description": "A size, for example 64kB, 256MB or 1GiB.",
    }


def json_schema(model: type[BaseModel], title: str, left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """The schema of files that `model` reads; left_out: fields of its spec that are known only to be refused."""
    schema: dict[str, Any] = {"$schema": DIALECT, **model.model_json_schema(by_alias=True), "title": title}
    for name in left_out:
        schema["$defs"]["Spec"]["properties"].pop(name)
    made: dict[str, Any] = written(schema)
    return made


def written(part: Any) -> Any:
    """A part of a schema as files are written, and not as they are parsed."""
    if isinstance(part, list):
        return [written(item) for item in part]
    if not isinstance(part, dict):
        return part
    known = {name: value for name, value in part.items() if name not in (_UNIT, "gt")}
    if isinstance(known.get("discriminator"), dict):  # each kind says what it is called: editors need no more
        known = {
            "anyOf" if name == "oneOf" else name: value for name, value in known.items() if name != "discriminator"
        }
    made = {name: written(value) for name, value in known.items()}
    default = part.get("default")
    if _UNIT in part and isinstance(default, int | float):
        made["default"] = format_duration(default * _NS[part[_UNIT]])
    if "default" in made and default is None:
        del made["default"]  # absent, and not null
    return made
