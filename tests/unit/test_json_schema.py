"""The schemas for editors accept the files of this project and refuse what the harness refuses by its form.

No JSON Schema package is among our dependencies, so a reader of the few words that our schemas use stands here; a word
that it does not know fails the test.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from harness.cli.main import app
from harness.faults.registry import FAULTS

ROOT = Path(__file__).parent.parent.parent
TYPES: dict[str, Any] = {"string": str, "object": dict, "array": list, "null": type(None), "boolean": bool}
ABOUT = {"$schema", "$defs", "title", "description", "default"}


def schema(name: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["schema", name])
    assert done.exit_code == 0, done.output
    made: dict[str, Any] = json.loads(done.output)
    return made


def of_type(value: Any, name: str) -> bool:
    if name in ("number", "integer"):
        whole = isinstance(value, int) or (name == "number" and isinstance(value, float))
        return whole and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def fits(value: Any, rule: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether `value` is what `rule` describes. Raises AssertionError for a word of JSON Schema that is not known."""
    return all(holds(value, word, said, rule, root) for word, said in rule.items() if word not in ABOUT)


def holds(value: Any, word: str, said: Any, rule: dict[str, Any], root: dict[str, Any]) -> bool:
    fields = value if isinstance(value, dict) else {}
    items = value if isinstance(value, list) else []
    numeric = of_type(value, "number")
    match word:
        case "$ref":
            return fits(value, root["$defs"][said.rsplit("/", 1)[1]], root)
        case "anyOf":
            return any(fits(value, branch, root) for branch in said)
        case "type":
            return any(of_type(value, name) for name in ([said] if isinstance(said, str) else said))
        case "const":
            return bool(value == said)
        case "enum":
            return value in said
        case "pattern":
            return not isinstance(value, str) or re.search(said, value) is not None
        case "minimum" | "maximum":
            return not (numeric and (value < said if word == "minimum" else value > said))
        case "exclusiveMinimum" | "exclusiveMaximum":
            return not (numeric and (value <= said if word == "exclusiveMinimum" else value >= said))
        case "minItems" | "minProperties":
            return len(fields or items) >= said
        case "maxItems":
            return len(items) <= said
        case "items":
            return all(fits(item, said, root) for item in items)
        case "required":
            return set(said) <= set(fields)
        case "properties":
            return all(fits(fields[name], inner, root) for name, inner in said.items() if name in fields)
        case "propertyNames":
            return all(fits(name, said, root) for name in fields)
        case "additionalProperties":
            more = [item for name, item in fields.items() if name not in rule.get("properties", {})]
            return not more if said is False else all(fits(item, said, root) for item in more)
    raise AssertionError(f"no word of JSON Schema that is known here: {word}")


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


@pytest.mark.parametrize("path", [p for p in sorted((ROOT / "slos").glob("*.yaml")) if ".openslo." not in p.name],
                         ids=lambda path: path.stem)  # fmt: skip
def test_the_validations_of_this_project_fit(path: Path) -> None:
    rules = schema("validation")
    assert fits(read(path), rules, rules)


def test_the_validations_of_all_executors_fit() -> None:
    rules = schema("validation")
    documents = list(YAML(typ="safe", pure=True).load_all(ROOT / "tests/every_executor.yaml"))
    assert len(documents) == 5 and all(fits(document, rules, rules) for document in documents)


def test_the_stack_of_this_project_fits() -> None:
    rules = schema("stack")
    assert fits(read(ROOT / "stack.yaml"), rules, rules)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "Validations"),
        (("spec", "scenaro"), "x.py"),
        (("spec", "load", "duration"), "20 seconds"),
        (("spec", "load", "duration"), 20),
        (("spec", "load", "rate"), "60/m"),
        (("spec", "load", "rate"), 0),
        (("spec", "load", "executor"), "constant"),
        (("spec", "thresholds"), {"latency": "p(95)<1s"}),
        (("spec", "profiles"), {"weekly": {}}),
        (("spec", "silent"), True),
        (("spec", "faults"), [{"latency": {"link": "app->milvus"}}]),
        (("spec", "faults"), [{"latency": {"link": "app->milvus", "delay": "5ms", "lasting": "5s"}}]),
        (("spec", "faults"), [{"latency": {"link": "app->milvus", "delay": 5}}]),
        (("spec", "faults"), [{"latancy": {"link": "app->milvus", "delay": "5ms"}}]),
        (("spec", "faults"), [{"blackhole": {"link": "app->milvus"}, "half-open": {"link": "app->milvus"}}]),
        (("spec", "faults"), [{"blackhole": {"link": "app->milvus"}, "at": 5}]),
        (("spec", "faults"), [{"at": "5s"}]),
    ],
)
def test_what_the_harness_refuses_by_its_form_does_not_fit(path: tuple[str, ...], value: Any) -> None:
    rules = schema("validation")
    document = copy.deepcopy(read(ROOT / "slos/vector_search.yaml"))
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert not fits(document, rules, rules)


def test_faults_fit_with_their_parameters_and_times() -> None:
    rules = schema("validation")
    assert fits(read(ROOT / "tests/every_field.yaml"), rules, rules)
    shown = json.dumps(rules["$defs"]["Fault"])
    assert all(f'"{name}"' in shown for name in FAULTS)
    assert '"main"' not in shown


@pytest.mark.parametrize("value", [60, 0.5, "60", "60/s", "0.5/s"])
def test_a_rate_is_a_number_or_a_text(value: Any) -> None:
    rules = schema("validation")
    assert fits(value, rules["$defs"]["ConstantArrivalRate"]["properties"]["rate"], rules)


def test_defaults_are_written_as_in_the_file() -> None:
    load = schema("validation")["$defs"]["ConstantArrivalRate"]["properties"]
    assert (load["warmup"]["default"], load["timeout"]["default"]) == ("5s", "10s")
    assert load["duration"]["type"] == "string"
    assert schema("stack")["$defs"]["Artefact"]["properties"]["timeout"]["default"] == "10m"
    assert '"x-unit"' not in json.dumps(schema("stack"))
