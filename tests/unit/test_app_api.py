"""Predictions, labels and features where nothing is needed or all dependencies refuse: answers, counts, log lines."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.api import MAX_IN_FLIGHT
from tests.app_support import Ask, Reply, app_config, asker, check_fields, log_fields, make_app, serve, value
from tests.unit.test_app_dependencies import hang, listening

MODEL = 'model_name="digits",version="digits-mlp-v1"'
REQUESTS = {
    "/predict": f"model_inference_requests_total{{{MODEL}}}",
    "/features/1": "feature_store_requests_total",
}
ERRORS = {
    "/predict": f"model_inference_errors_total{{{MODEL}}}",
    "/features/1": "feature_store_errors_total",
}
LATENCIES = {
    "/predict": f"model_inference_latency_seconds_count{{{MODEL}}}",
    "/features/1": "feature_store_latency_seconds_count",
}
ASKED = {"/predict": ("POST", b'{"entity_id": 1}'), "/features/1": ("GET", b"")}
each_path = pytest.mark.parametrize("path", ASKED)


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return make_app(app_config(tmp_path))


def answers(app: FastAPI, *requests: tuple[str, str, bytes]) -> tuple[list[Reply], str]:
    """The replies, and the metrics after them."""

    async def conversation(ask: Ask) -> tuple[list[Reply], str]:
        replies = [await ask(*request) for request in requests]
        return replies, (await ask("GET", "/actuator/prometheus")).body.decode()

    return serve(app, conversation)


def lines(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "app.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/predict", b"{}", "body.entity_id"),
        ("/predict", b"not json", "body"),
        ("/predict", b'{"entity_id": -1}', "body.entity_id"),
        ("/predict", b'{"entity_id": "1"}', "body.entity_id"),
        ("/predict", b'{"entity_id": 9223372036854775808}', "body.entity_id"),
        ("/predict", b'{"entity_id": 1, "more": 2}', "body.more"),
        ("/features/one", b"", "path.entity_id"),
        ("/features/-1", b"", "path.entity_id"),
        ("/features/9223372036854775808", b"", "path.entity_id"),
    ],
)
def test_an_invalid_request_is_refused_by_field_and_counted_but_is_no_error(
    app: FastAPI, path: str, body: bytes, field: str
) -> None:
    (reply,), metrics = answers(app, ("POST" if body else "GET", path, body))
    assert reply.status == 422
    assert reply.json()["error"] == "invalid-request"
    assert reply.json()["problems"][0]["field"].startswith(field)
    kind = "/predict" if body else "/features/1"
    assert (value(metrics, REQUESTS[kind]), value(metrics, ERRORS[kind])) == (1, 0)
    assert value(metrics, LATENCIES[kind]) == 1


@each_path
def test_a_dependency_that_refuses_is_named_and_the_request_counts_as_failed(app: FastAPI, path: str) -> None:
    method, body = ASKED[path]
    (reply,), metrics = answers(app, (method, path, body))
    assert reply.status == 503
    assert (reply.json()["error"], reply.json()["dependency"]) == ("postgres-unreachable", "postgres")
    assert re.fullmatch("[0-9a-f]{32}", reply.json()["trace_id"])
    assert (value(metrics, REQUESTS[path]), value(metrics, ERRORS[path])) == (1, 1)
    assert value(metrics, 'app_dependency_errors_total{dependency="redis"}') == 1
    assert value(metrics, 'app_dependency_errors_total{dependency="model-server"}') == 0


@each_path
def test_every_request_is_counted_exactly_once_whatever_became_of_it(app: FastAPI, path: str) -> None:
    method, body = ASKED[path]

    async def conversation(ask: Ask) -> str:
        await ask(method, path, body)
        cut_off = asyncio.ensure_future(ask(method, path, body))
        await asyncio.sleep(0)
        cut_off.cancel()
        stopped = await cut_off  # as the server's end does it
        assert (stopped.status, stopped.json()["error"]) == (503, "stopping")
        assert (await ask("PUT", path)).status == 405
        assert (await ask(method, f"{path}/more")).status == 404
        return (await ask("GET", "/actuator/prometheus")).body.decode()

    metrics = serve(app, conversation)
    assert [value(metrics, one[path]) for one in (REQUESTS, ERRORS, LATENCIES)] == [2, 2, 2]
    assert value(metrics, "app_in_flight_requests") == 0


@each_path
def test_more_at_once_than_are_worth_starting_are_refused_at_once(tmp_path: Path, path: str) -> None:
    method, body = ASKED[path]

    async def scenario() -> tuple[Reply, str]:
        async with listening(hang) as address:
            app = make_app(app_config(tmp_path, APP_REDIS=f"redis://{address}/0"))
            async with app.router.lifespan_context(app):
                ask = asker(app)
                waiting = [asyncio.ensure_future(ask(method, path, body)) for _ in range(MAX_IN_FLIGHT)]
                await asyncio.sleep(0)  # each of them now waits for Redis
                reply = await ask(method, path, body)
                metrics = (await ask("GET", "/actuator/prometheus")).body.decode()
                for task in waiting:
                    task.cancel()
                await asyncio.wait(waiting)
                assert (await ask(method, path, body)).json()["error"] == "postgres-unreachable"
                return reply, metrics

    reply, metrics = asyncio.run(scenario())
    assert (reply.status, reply.json()["error"]) == (503, "overloaded")
    assert value(metrics, REQUESTS[path]) == MAX_IN_FLIGHT + 1
    assert value(metrics, "app_in_flight_requests") == MAX_IN_FLIGHT


@pytest.mark.parametrize(
    ("body", "status", "slug", "outcome"),
    [
        (b'{"prediction_id": "nobody", "label": 3}', 404, "unknown-prediction", "unknown"),
        (b'{"prediction_id": "nobody", "label": 10}', 422, "invalid-request", "invalid"),
        (b'{"prediction_id": "nobody", "label": -1}', 422, "invalid-request", "invalid"),
        (b'{"prediction_id": "nobody", "label": true}', 422, "invalid-request", "invalid"),
        (b'{"prediction_id": "", "label": 3}', 422, "invalid-request", "invalid"),
        (b"[]", 422, "invalid-request", "invalid"),
    ],
)
def test_a_label_that_belongs_to_nothing_is_refused_and_counted_by_outcome(
    app: FastAPI, tmp_path: Path, body: bytes, status: int, slug: str, outcome: str
) -> None:
    (reply,), metrics = answers(app, ("POST", "/feedback", body))
    assert (reply.status, reply.json()["error"]) == (status, slug)
    counts = {
        one: value(metrics, f'model_feedback_total{{outcome="{one}"}}')
        for one in ("accepted", "duplicate", "unknown", "invalid")
    }
    assert {one: count for one, count in counts.items() if count} == {outcome: 1}
    assert value(metrics, "model_feedback_latency_seconds_count") == 1
    (line,) = lines(tmp_path)
    assert (line["status"], line["outcome"], line["error"]) == ("invalid", outcome, slug)
    check_fields(line, log_fields("feedback"))


def test_each_request_leaves_one_log_line_of_the_described_form(app: FastAPI, tmp_path: Path) -> None:
    answers(
        app,
        ("POST", "/predict", b'{"entity_id": 1}'),
        ("POST", "/predict", b"{}"),
        ("GET", "/features/1", b""),
        ("GET", "/features/x", b""),
    )
    found = lines(tmp_path)
    assert [line["component"] for line in found] == ["model_inference"] * 2 + ["feature_store"] * 2
    assert [line["status"] for line in found] == ["error", "invalid"] * 2
    assert [line["entity_id"] for line in found] == [1, None] * 2
    assert [line["error"] for line in found] == ["postgres-unreachable", "invalid-request"] * 2
    for line in found:
        check_fields(line, log_fields(str(line["component"])))


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", {"milvus", "postgres", "redis", "model-server"}),
        ("?exclude=milvus,redis", {"postgres", "model-server"}),
        ("?exclude=milvus&exclude=redis,nobody,", {"postgres", "model-server"}),
        ("?exclude=milvus,redis,postgres,model-server,loki", set()),
    ],
)
def test_health_leaves_out_what_it_is_asked_to(app: FastAPI, query: str, left: set[str]) -> None:
    (reply,), _ = answers(app, ("GET", f"/healthz{query}", b""))
    assert reply.status == (503 if left else 200)
    assert set(reply.json()["problems"]) == left
    assert all(problem.startswith("unreachable: ") for problem in reply.json()["problems"].values())
