"""What the app exports is what monitoring/schema/metrics.yaml says, from the first scrape on."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from app.metrics import Metrics, RollingRate
from app.shared.exposition import exposition
from app.shared.log_metrics import LogMetrics

SCHEMA = Path(__file__).parents[2] / "monitoring/schema/metrics.yaml"


def described() -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in YAML(typ="safe").load(SCHEMA.read_text())["metrics"]}


def text(metrics: Metrics) -> str:
    LogMetrics(metrics.registry)
    body, content_type = exposition(metrics.registry, None)
    assert content_type.startswith("text/plain; version=0.0.4")
    return body.decode()


def exported() -> dict[str, Any]:
    families = text_string_to_metric_families(text(Metrics()))
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def test_names_types_and_help_agree() -> None:
    schema, families = described(), exported()
    assert {name: (one["type"], one["help"]) for name, one in schema.items()} == {
        name: (family.type, family.documentation) for name, family in families.items()
    }


def test_every_series_that_the_schema_lists_exists_from_the_start_at_zero() -> None:
    schema, families = described(), exported()
    for name, one in schema.items():
        values = [dict(zip(one["labels"], chosen, strict=True)) for chosen in product(*one["labels"].values())]
        samples = [sample for sample in families[name].samples if not sample.name.endswith(("_bucket", "_sum"))]
        assert sorted(map(str, values)) == sorted(str(sample.labels) for sample in samples), name
        if not name.startswith("process_"):
            assert [sample.value for sample in samples] == [0] * len(values), name


def test_the_buckets_are_the_described_ones() -> None:
    for name, one in described().items():
        if one["type"] == "histogram":
            edges = [sample.labels["le"] for sample in exported()[name].samples if sample.name.endswith("_bucket")]
            assert [float(edge) for edge in edges] == [*map(float, one["buckets"]), float("inf")]
            assert {0.05, 0.1, 0.15, 0.25, 0.4, 0.5} <= set(one["buckets"])  # objectives are set here


def test_the_rate_falls_to_zero_when_traffic_stops() -> None:
    now = 100.0
    rate = RollingRate(window=4.0, clock=lambda: now)
    assert rate.value() == 0
    for step in range(40):
        now = 100.0 + step / 10
        rate.mark()
    assert rate.value() == 10
    now += 2.0
    assert 4 <= rate.value() <= 6
    now += 4.0
    assert rate.value() == 0


def test_the_time_scale_shortens_the_window_of_the_rate() -> None:
    metrics = Metrics(time_scale=15)
    metrics.search_rate.mark()
    assert 'vector_search_queries_per_second{collection_name="documents"} 0.25' in text(metrics)
