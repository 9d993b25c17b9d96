"""After a minute of load Prometheus holds each metric that monitoring/schema/metrics.yaml declares, as it declares it:
type, unit, help, labels and how many series; and of the service's own jobs it holds nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests
from ruamel.yaml import YAML

from harness.gate.session import Session
from harness.model.versions import milvus_of
from harness.stack.runtime import Stack
from tests.integration.helpers import ROOT, run_one, unexpected, version_of, write_validation

pytestmark = pytest.mark.stack

SCHEMA = YAML(typ="safe").load((ROOT / "monitoring/schema/metrics.yaml").read_text())
OWN_JOBS = ("application", "model-server", "refresher")
# What Prometheus itself adds to each job, and to each series.
ADDED = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
         "scrape_series_added"}  # fmt: skip
ADDED_LABELS = {"__name__", "job", "instance"}
PARTS = ("_bucket", "_sum", "_count")


def entries(milvus: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(job, entry) for each metric and each job that exports it; milvus: its version, where labels are asked for."""
    for one in (*SCHEMA["metrics"], *SCHEMA["dependencies"]):
        if milvus and one["job"] == "milvus":
            one = {**one, "labels": dict.fromkeys(milvus_of(milvus).series[one["name"]], "any")}
        for job in [one["job"]] if isinstance(one["job"], str) else one["job"]:
            yield job, one


@pytest.fixture(scope="module")
def prometheus(slo_session: Session, reference_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a Prometheus that has watched a minute of load on every endpoint."""
    path = write_validation(
        tmp_path_factory.mktemp("mixed"),
        name="mixed",
        scenario=Path(__file__).with_name("mixed_scenario.py"),
        thresholds='{"errors": ["rate<1%"]}',
        duration="60s",
    )
    done = run_one(path, slo_session)
    assert unexpected(done) == []
    return f"http://{reference_stack.address('prometheus.http')}"


def ask(base: str, path: str, **params: Any) -> Any:
    reply = requests.get(f"{base}/api/v1/{path}", params=params, timeout=10)
    reply.raise_for_status()
    return reply.json()["data"]


def metadata(base: str, job: str) -> dict[str, dict[str, str]]:
    """Metric family -> what the target said of it; counters without `_total`, as OpenMetrics names families."""
    told = ask(base, "targets/metadata", match_target=f'{{job="{job}"}}')
    return {one["metric"]: one for one in told}


def series(base: str, job: str) -> dict[str, list[dict[str, str]]]:
    """Name -> the label sets of its series in the last minute, without what Prometheus adds."""
    found: dict[str, list[dict[str, str]]] = {}
    at = float(ask(base, "query", query="time()")["result"][1])
    for labels in ask(base, "series", **{"match[]": f'{{job="{job}"}}', "start": at - 60, "end": at}):
        own = {name: value for name, value in labels.items() if name not in ADDED_LABELS}
        found.setdefault(labels["__name__"], []).append(own)
    return found


def allowed(one: dict[str, Any]) -> set[tuple[str, ...]] | None:
    """The combinations of label values that are declared, in the order of labels; None where they are not listed."""
    values = list(one["labels"].values())
    if "series" in one:
        return {tuple(map(str, row)) for row in one["series"]}
    if any(not isinstance(choice, list) for choice in values):
        return None
    return set(product(*([str(value) for value in choice] for choice in values)))


@pytest.mark.parametrize("job", dict.fromkeys(job for job, _ in entries()))
def test_each_declared_metric_is_there_with_its_type_unit_and_labels(
    prometheus: str, reference_stack: Stack, job: str
) -> None:
    told, seen = metadata(prometheus, job), series(prometheus, job)
    for name, one in ((one["name"], one) for of, one in entries(version_of(reference_stack, "milvus")) if of == job):
        family = told.get(name) or told.get(name.removesuffix("_total"))
        assert family is not None, f"{name} is not exported by {job}"
        assert (family["type"], family["unit"]) == (one["type"], one.get("unit", "")), name
        if "help" in one:
            assert family["help"] == one["help"], name
        plain = f"{name}_count" if one["type"] == "histogram" else name
        assert seen.get(plain), f"{plain} has no series in {job} after a minute of load"
        order = list(one["labels"])
        assert all(sorted(labels) == sorted(order) for labels in seen[plain]), (name, seen[plain][0])
        found = {tuple(labels[label] for label in order) for labels in seen[plain]}
        assert len(found) == len(seen[plain]), f"two targets of {job} export {name}"
        declared = allowed(one)
        if declared is None:
            assert len(found) <= one["max_series"], f"{name}: {len(found)} series"
        else:
            assert found == declared, name
        if one["type"] == "histogram" and "buckets" in one:
            edges = {float(labels["le"]) for labels in seen[f"{name}_bucket"]}
            assert edges == {*map(float, one["buckets"]), float("inf")}, name
            assert len(seen[f"{name}_bucket"]) == len(edges) * len(found), name


@pytest.mark.parametrize("job", OWN_JOBS)
def test_the_service_exports_nothing_that_is_not_declared(prometheus: str, job: str) -> None:
    declared = {one["name"] for of, one in entries() if of == job}
    histograms = {one["name"] for of, one in entries() if of == job and one["type"] == "histogram"}
    declared |= {f"{name}{part}" for name in histograms for part in PARTS}
    assert set(series(prometheus, job)) - declared == ADDED


def test_the_load_is_seen_in_the_numbers(prometheus: str) -> None:
    """A series that exists and never moves would satisfy the rest."""
    for name in (
        "vector_search_requests_total",
        "model_inference_requests_total",
        "feature_store_requests_total",
        'model_feedback_total{outcome="accepted"}',
        'feature_store_reads_total{source="redis"}',
        'model_server_requests_total{endpoint="infer"}',
        'feature_refresh_total{outcome="success"}',
        'log_lines_pushed_total{job="application"}',
        'log_lines_pushed_total{job="model-server"}',
        'log_lines_pushed_total{job="refresher"}',
        'db_client_operation_duration_seconds_count{db_system_name="redis",db_operation_name="hgetall"}',
    ):
        (only,) = ask(prometheus, "query", query=f"sum({name})")["result"]
        assert float(only["value"][1]) > 0, name
    (dropped,) = ask(prometheus, "query", query="sum(log_lines_dropped_total)")["result"]
    assert float(dropped["value"][1]) == 0
    for age in ask(prometheus, "query", query="feature_store_freshness_seconds")["result"]:
        assert 0 <= float(age["value"][1]) < 20  # the seed's 300 s, divided by the time scale
