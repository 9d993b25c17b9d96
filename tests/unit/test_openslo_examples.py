"""The examples in docs/openslo are the compatibility test: a valid one gives what the snapshot says, an invalid one is
refused with the slug and at the place that its first line states, and together they have every field there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML
from syrupy.assertion import SnapshotAssertion

from harness.core.errors import UsageError
from harness.model.openslo import load_objectives
from harness.model.openslo_catalog import KINDS
from harness.model.openslo_indicator import Indicator
from harness.model.openslo_slo import ServiceLevel, load_service_levels

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "openslo"
VALID = sorted((EXAMPLES / "valid").glob("*.yaml"))
ACROSS = sorted((EXAMPLES / "valid" / "across").glob("*.yaml"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.yaml"))


def described(level: ServiceLevel) -> dict[str, Any]:
    return {
        "name": level.name,
        "method": level.method,
        "window": str(level.window),
        "composite": level.composite,
        "objectives": [
            {
                "name": goal.name,
                "target": goal.target,
                "compared": f"{goal.operator} {goal.value}" if goal.operator else None,
                "slices": (goal.slice_s, goal.slice_target),
                "weight": goal.weight,
                "indicator": measured(goal.indicator),
            }
            for goal in level.goals
        ],
        "alerts": [repr(alert) for alert in level.alerts],
    }


def measured(indicator: Indicator) -> dict[str, Any]:
    queries = {role: query.text for role, query in indicator.queries.items()}
    return {"kind": indicator.kind, "counter": indicator.counter, "raw": indicator.raw_type, "queries": queries}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_example_is_read(path: Path, snapshot: SnapshotAssertion) -> None:
    assert [described(level) for level in load_service_levels([path])] == snapshot


def test_references_go_across_files_in_any_order(snapshot: SnapshotAssertion) -> None:
    forth, back = load_service_levels(ACROSS), load_service_levels(ACROSS[::-1])
    assert [described(level) for level in forth] == [described(level) for level in back] == snapshot
    alone = [path for path in ACROSS if path.stem != "sources"]
    with pytest.raises(UsageError, match=r"no DataSource named 'metrics'\n.*\n.*\n.*in these 2 files"):
        load_service_levels(alone)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_example_is_refused_where_it_says(path: Path) -> None:
    slug, place = path.read_text().splitlines()[0].removeprefix("# ").split()
    with pytest.raises(UsageError) as caught:
        if path.stem.startswith("run-"):  # read, and not judged by a run
            assert load_service_levels([path])
            load_objectives(path)
        else:
            load_service_levels([path])
    error = caught.value
    assert error.location is not None
    assert (error.slug, f"{error.location.line}:{error.location.column}") == (slug, place), error.render()
    assert error.location.path == path
    assert error.cause
    assert error.remedy


def test_what_a_run_judges_of_the_valid_examples(snapshot: SnapshotAssertion) -> None:
    """Everything but composite SLOs, as the plan holds it."""
    judged = [path for path in VALID if path.stem != "composite"]
    assert [one.as_dict() for path in judged for one in load_objectives(path)] == snapshot


def shapes(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """`model` and every shape that a document of it may hold."""
    yield model
    for field in model.model_fields.values():
        yield from nested(field.annotation)


def nested(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from shapes(annotation)
    for argument in get_args(annotation):
        yield from nested(argument)


def stated(part: Any) -> Iterator[tuple[str, str]]:
    """(shape, field) of all that stands in a document."""
    if isinstance(part, BaseModel):
        for name in part.model_fields_set:
            yield type(part).__name__, name
            yield from stated(getattr(part, name))
    elif isinstance(part, list):
        for item in part:
            yield from stated(item)


def documents() -> Iterator[dict[str, Any]]:
    for path in (*VALID, *ACROSS):
        yield from YAML(typ="safe", pure=True).load_all(path.read_text())


def test_every_field_of_every_kind_has_a_valid_example() -> None:
    have = {pair for one in documents() for pair in stated(KINDS[one["kind"]].model_validate(one))}
    wanted = {
        (shape.__name__, name) for kind in KINDS.values() for shape in shapes(kind) for name in shape.model_fields
    }
    assert sorted(wanted - have) == []


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("budgetingMethod", {"Occurrences", "Timeslices", "RatioTimeslices"}),
        ("op", {"lt", "lte", "gt", "gte"}),
        ("rawType", {"success", "failure"}),
        ("counter", {True, False}),
    ],
)
def test_every_value_of_a_choice_has_a_valid_example(field: str, values: set[Any]) -> None:
    assert values <= {value for document in documents() for value in values_of(document, field)}


def test_every_unit_of_a_duration_has_a_valid_example() -> None:
    assert {value[-1] for document in documents() for value in values_of(document, "duration")} == set("mhdwMQY")


def values_of(data: Any, field: str) -> Iterator[Any]:
    for item in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from values_of(item, field)
    if isinstance(data, dict) and field in data:
        yield data[field]
