"""What the app and the refresher export is what monitoring/schema/metrics.yaml says, from the first scrape on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from ruamel.yaml import YAML

from app.freshness import FreshnessCollector
from app.metrics import Metrics
from app.rate import RollingRate
from app.shared.exposition import exposition
from app.shared.log_metrics import LogMetrics
from refresher.metrics import RefresherMetrics

SCHEMA = Path(__file__).parents[2] / "monitoring/schema/metrics.yaml"
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
JOBS: dict[str, Callable[[], CollectorRegistry]] = {
    "application": lambda: Metrics("digits", "digits-mlp-v1").registry,
    "refresher": lambda: RefresherMetrics().registry,
}
each_job = pytest.mark.parametrize("job", JOBS)


def described(job: str) -> dict[str, dict[str, Any]]:
    entries = YAML(typ="safe").load(SCHEMA.read_text())["metrics"]
    return {one["name"]: one for one in entries if job in (one["job"], *one["job"])}


def exported(job: str) -> dict[str, Any]:
    """As Prometheus asks for it."""
    registry = JOBS[job]()
    LogMetrics(registry)
    body, content_type = exposition(registry, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    families = parse_openmetrics(body.decode())
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def ordered(labels: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(labels.items())


@each_job
def test_names_types_units_and_help_agree(job: str) -> None:
    assert {name: (one["type"], one.get("unit", ""), one["help"]) for name, one in described(job).items()} == {
        name: (family.type, family.unit, family.documentation) for name, family in exported(job).items()
    }


@each_job
def test_every_series_that_the_schema_lists_exists_from_the_start_at_zero_and_no_other(job: str) -> None:
    families = exported(job)
    for name, one in described(job).items():
        chosen = one.get("series") or product(*one["labels"].values())
        values = [] if "absent_until" in one else [dict(zip(one["labels"], row, strict=True)) for row in chosen]
        samples = [sample for sample in families[name].samples if not sample.name.endswith(("_bucket", "_sum"))]
        assert sorted(map(ordered, values)) == sorted(ordered(sample.labels) for sample in samples), name
        if not name.startswith("process_"):
            assert [sample.value for sample in samples] == [0] * len(values), name


@each_job
def test_the_buckets_are_the_described_ones(job: str) -> None:
    for name, one in described(job).items():
        if one["type"] == "histogram":
            edges = {float(s.labels["le"]) for s in exported(job)[name].samples if s.name.endswith("_bucket")}
            assert edges == {*map(float, one["buckets"]), float("inf")}, name


def test_bounds_of_objectives_and_rules_are_edges() -> None:
    schema = described("application")
    assert {0.05, 0.1, 0.15, 0.25, 0.4, 0.5} <= set(schema["vector_search_latency_seconds"]["buckets"])
    inference = set(schema["model_inference_latency_seconds"]["buckets"])
    assert {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 5, 10} <= inference


def test_whoever_does_not_ask_for_openmetrics_gets_the_text_format_without_created_series() -> None:
    for accept in (None, "*/*", "text/plain;version=0.0.4"):
        body, content_type = exposition(Metrics("digits", "v").registry, accept)
        assert content_type.startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in parse_text(body.decode())}
        assert families["vector_search_requests"].samples[0].name == "vector_search_requests_total"
        assert b"_created" not in body and b"# UNIT" not in body


def test_scores_appear_with_their_labels() -> None:
    metrics = Metrics("digits", "v7")
    for name in ("accuracy", "precision", "recall", "f1_score"):
        metrics.score(name, 0.5)
        assert metrics.registry.get_sample_value(f"model_{name}", {"model_id": "digits", "version": "v7"}) == 0.5


def test_the_age_of_features_grows_while_nobody_updates_them() -> None:
    now = 1_000.0
    gauges = FreshnessCollector(clock=lambda: now)
    registry = CollectorRegistry()
    registry.register(gauges)
    profile = {"feature_name": "profile"}
    assert registry.get_sample_value("feature_store_freshness_seconds", profile) is None  # rather than a wrong one
    gauges.update({"profile": datetime.fromtimestamp(990, UTC)})
    assert registry.get_sample_value("feature_store_freshness_seconds", profile) == 10
    now = 1_300.0
    assert registry.get_sample_value("feature_store_freshness_seconds", profile) == 310
    assert registry.get_sample_value("feature_store_last_update_timestamp_seconds", profile) == 990


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
    metrics = Metrics("digits", "v", time_scale=15)
    metrics.search_rate.mark()
    rate = metrics.registry.get_sample_value("vector_search_queries_per_second", {"collection_name": "documents"})
    assert rate == 0.25
