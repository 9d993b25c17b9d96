"""Validation, counting and reporting of POST /search, where no dependency is needed or all refuse."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.app_support import Ask, Reply, app_config, check_fields, log_fields, make_app, serve, value

QUESTION = b'{"query": "aa ab ac ba bb", "top_k": 3}'
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return make_app(app_config(tmp_path))


def asked(app: FastAPI, *bodies: bytes) -> tuple[list[Reply], str]:
    """The replies to POST /search of each body, and the metrics after them."""

    async def conversation(ask: Ask) -> tuple[list[Reply], str]:
        replies = [await ask("POST", "/search", body) for body in bodies]
        return replies, (await ask("GET", "/actuator/prometheus")).body.decode()

    return serve(app, conversation)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "body.query"),
        (b"not json", "body"),
        (b"[]", "body"),
        (b'{"query": ""}', "body.query"),
        (b'{"query": 5}', "body.query"),
        (b'{"query": "\\ud800"}', "body.query"),
        (json.dumps({"query": "x" * 4_001}).encode(), "body.query"),
        (b'{"query": "x", "top_k": 0}', "body.top_k"),
        (b'{"query": "x", "top_k": 101}', "body.top_k"),
        (b'{"query": "x", "top_k": "10"}', "body.top_k"),
        (b'{"query": "x", "topk": 10}', "body.topk"),
    ],
)
def test_an_invalid_request_is_refused_by_field_and_counted_but_is_no_error(
    app: FastAPI, body: bytes, field: str
) -> None:
    (reply,), metrics = asked(app, body)
    assert reply.status == 422
    assert reply.json()["error"] == "invalid-request"
    assert reply.json()["problems"][0]["field"].startswith(field)
    assert value(metrics, 'vector_search_requests_total{collection_name="documents"}') == 1
    assert value(metrics, 'vector_search_errors_total{collection_name="documents"}') == 0


def test_a_query_without_a_known_term_finds_nothing(app: FastAPI) -> None:
    (reply,), _ = asked(app, b'{"query": "zzzzz"}')
    assert (reply.status, reply.json()["results"]) == (200, [])
    assert re.fullmatch("[0-9a-f]{32}", reply.json()["trace_id"])


def test_a_dependency_that_refuses_is_named_retried_once_and_counted(app: FastAPI) -> None:
    (reply,), metrics = asked(app, QUESTION)
    assert reply.status == 503
    assert (reply.json()["error"], reply.json()["dependency"]) == ("milvus-unreachable", "milvus")
    assert value(metrics, 'app_dependency_retries_total{dependency="milvus"}') == 1
    assert value(metrics, 'app_dependency_errors_total{dependency="milvus"}') == 1
    assert value(metrics, 'app_dependency_errors_total{dependency="redis"}') == 0


def test_every_search_is_counted_exactly_once_whatever_became_of_it(app: FastAPI) -> None:
    async def conversation(ask: Ask) -> str:
        for body in (QUESTION, b"{}", b'{"query": "zzzzz"}', QUESTION):
            await ask("POST", "/search", body)
        cut_off = asyncio.ensure_future(ask("POST", "/search", QUESTION))
        await asyncio.sleep(0)
        cut_off.cancel()
        stopped = await cut_off  # as the server's end does it
        assert (stopped.status, stopped.json()["error"]) == (503, "stopping")
        assert (await ask("GET", "/search")).status == 405
        assert (await ask("POST", "/search/")).status == 404
        return (await ask("GET", "/actuator/prometheus")).body.decode()

    metrics = serve(app, conversation)
    assert value(metrics, 'vector_search_requests_total{collection_name="documents"}') == 5
    assert value(metrics, 'vector_search_errors_total{collection_name="documents"}') == 3
    assert value(metrics, 'vector_search_latency_seconds_count{collection_name="documents"}') == 5
    assert value(metrics, "app_in_flight_requests") == 0


def test_health_names_all_that_is_wrong(app: FastAPI) -> None:
    async def conversation(ask: Ask) -> Reply:
        return await ask("GET", "/healthz")

    reply = serve(app, conversation)
    assert reply.status == 503
    assert set(reply.json()["problems"]) == {"milvus", "postgres", "redis", "model-server"}
    assert all(problem.startswith("unreachable: ") for problem in reply.json()["problems"].values())


def test_each_search_leaves_one_log_line_of_the_described_form(app: FastAPI, tmp_path: Path) -> None:
    async def conversation(ask: Ask) -> None:
        caller = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        for body in (QUESTION, b"{}", b'{"query": "zzzzz", "top_k": 7}'):
            await ask("POST", "/search", body, caller)

    serve(app, conversation)
    lines = [json.loads(line) for line in (tmp_path / "app.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["error", "invalid", "success"]
    assert [line["level"] for line in lines] == ["ERROR", "WARNING", "INFO"]
    assert [line["top_k"] for line in lines] == [3, None, 7]
    assert {line["trace_id"] for line in lines} == {TRACE}
    assert len({line["span_id"] for line in lines} - {SPAN}) == 3
    for line in lines:
        check_fields(line, log_fields("vector_search"))
