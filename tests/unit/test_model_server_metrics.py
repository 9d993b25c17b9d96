"""What the model server exports is what monitoring/schema/metrics.yaml says of its job, from the first scrape on."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from app.shared.exposition import exposition
from app.shared.log_metrics import LogMetrics
from model_server.metrics import ServerMetrics

SCHEMA = Path(__file__).parents[2] / "monitoring/schema/metrics.yaml"
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def described() -> dict[str, dict[str, Any]]:
    """The schema's entries of the job, by name."""
    entries = YAML(typ="safe").load(SCHEMA.read_text())["metrics"]
    return {one["name"]: one for one in entries if "model-server" in (one["job"], *one["job"])}


def families_of(openmetrics: str) -> dict[str, Any]:
    """The families of an exposition, by the name that the schema uses."""
    families = text_string_to_metric_families(openmetrics)  # type: ignore[no-untyped-call]
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def check_families(families: dict[str, Any]) -> None:
    """Names, types, units and help are the described ones."""
    assert {name: (one["type"], one.get("unit", ""), one["help"]) for name, one in described().items()} == {
        name: (family.type, family.unit, family.documentation) for name, family in families.items()
    }


def exported() -> dict[str, Any]:
    metrics = ServerMetrics()
    LogMetrics(metrics.registry)
    return families_of(exposition(metrics.registry, OPENMETRICS)[0].decode())


def test_names_types_units_and_help_agree() -> None:
    check_families(exported())


def test_every_series_that_the_schema_lists_exists_from_the_start_at_zero_and_no_other() -> None:
    families = exported()
    for name, one in described().items():
        values = [dict(zip(one["labels"], chosen, strict=True)) for chosen in product(*one["labels"].values())]
        samples = [sample for sample in families[name].samples if not sample.name.endswith(("_bucket", "_sum"))]
        assert sorted(map(str, values)) == sorted(str(sample.labels) for sample in samples), name
        if not name.startswith("process_"):
            assert [sample.value for sample in samples] == [0] * len(values), name


def test_the_buckets_are_the_described_ones() -> None:
    families = exported()
    for name, one in described().items():
        if one["type"] == "histogram":
            edges = {float(s.labels["le"]) for s in families[name].samples if s.name.endswith("_bucket")}
            assert edges == {*map(float, one["buckets"]), float("inf")}, name
