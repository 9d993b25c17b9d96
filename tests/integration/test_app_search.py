"""The app on its real dependencies: right answers, the effort that recall depends on, and how it ends."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2 import connect

from app.config import COLLECTION
from harness.stack.runtime import Stack
from tests.integration.service_process import Service, fetch, run_module, store_environment

pytestmark = pytest.mark.stack

Start = Callable[..., Service]


def search(url: str, query: str, top_k: int = 10, **headers: str) -> tuple[int, str]:
    body = json.dumps({"query": query, "top_k": top_k}).encode()
    headers = {"content-type": "application/json", **headers}
    return fetch(urllib.request.Request(f"{url}/search", body, headers))


def questions(stack: Stack, every: int) -> list[dict[str, Any]]:
    lines = (stack.artefact("corpus") / "queries.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[::every]]


def recall(url: str, asked: list[dict[str, Any]]) -> float:
    shares = []
    for question in asked:
        status, body = search(url, question["text"])
        assert status == 200, body
        found = {result["id"] for result in json.loads(body)["results"]}
        shares.append(len(found & set(question["neighbours"][:10])) / 10)
    return sum(shares) / len(shares)


def environment(stack: Stack, **changes: str) -> dict[str, str]:
    more = {
        "APP_MILVUS": f"http://{stack.address('milvus.grpc')}",
        "APP_MODEL_SERVER": f"http://{stack.address('model-server.http')}",
        "APP_CORPUS": str(stack.artefact("corpus")),
        "APP_DIGITS": str(stack.artefact("digits")),
    }
    return store_environment(stack, **more, **changes)


@pytest.fixture
def start(reference_stack: Stack, tmp_path: Path) -> Iterator[Start]:
    """Starts an app beside the stack's own, healthy when it returns."""
    running: list[Service] = []

    def start(**changes: str) -> Service:
        env = environment(reference_stack, **changes)
        running.append(Service("app", tmp_path / "app.jsonl", "/healthz", env))
        return running[-1]

    yield start
    for app in running:
        app.kill()


def test_a_search_finds_the_nearest_documents(reference_stack: Stack) -> None:
    url = f"http://{reference_stack.address('app.http')}"
    (question, *_) = questions(reference_stack, every=500)
    trace = "0af7651916cd43dd8448eb211c80319c"
    status, body = search(url, question["text"], 100, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert status == 200
    reply = json.loads(body)
    assert reply["trace_id"] == trace
    results = reply["results"]
    assert len({result["id"] for result in results}) == 100
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True) and scores[0] <= 1
    lines = (reference_stack.artefact("corpus") / "passages.jsonl").read_text().splitlines()
    for result in results:
        passage = json.loads(lines[result["id"]])
        assert result["title"] == passage["title"]
        assert result["text"] and passage["text"].startswith(result["text"])


def test_the_default_effort_finds_what_the_objective_asks_for(reference_stack: Stack) -> None:
    assert recall(f"http://{reference_stack.address('app.http')}", questions(reference_stack, every=5)) >= 0.97


def test_the_lowest_effort_misses_the_objective(reference_stack: Stack, start: Start) -> None:
    app = start(APP_SEARCH_EFFORT="1")
    assert recall(app.url, questions(reference_stack, every=5)) < 0.90


def test_the_app_ends_on_sigterm_with_its_log_written(reference_stack: Stack, start: Start) -> None:
    app = start()
    asked = questions(reference_stack, every=20)
    for question in asked:
        assert search(app.url, question["text"])[0] == 200
    assert app.value('vector_search_requests_total{collection_name="documents"}') == len(asked)
    assert app.stop() == (0, "")
    assert [(line["status"], line["results_count"]) for line in app.lines()] == [("success", 10)] * len(asked)


def test_a_connection_that_the_server_closed_is_replaced_and_counted(start: Start, reference_stack: Stack) -> None:
    app = start()
    query = questions(reference_stack, every=500)[0]["text"]
    assert search(app.url, query)[0] == 200
    with connect(environment(reference_stack)["APP_POSTGRES"]) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'app'")
        assert cursor.rowcount >= 1
    other.close()
    assert search(app.url, query)[0] == 200
    assert app.value('app_dependency_retries_total{dependency="postgres"}') >= 1
    assert app.value('app_dependency_errors_total{dependency="postgres"}') == 0


def test_loading_again_only_verifies_and_a_missing_row_is_an_error(reference_stack: Stack) -> None:
    again = run_module("app.load_corpus", environment(reference_stack))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("were there") == 2
    with connect(environment(reference_stack)["APP_POSTGRES"]) as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {COLLECTION} WHERE id = 0 RETURNING *")
        row = cursor.fetchone()
    try:
        broken = run_module("app.load_corpus", environment(reference_stack))
        assert broken.returncode == 1
        assert broken.stderr.startswith("load-incomplete: PostgreSQL holds 20,479 of 20,480 documents")
    finally:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {COLLECTION} VALUES (%s, %s, %s, %s)", row)
        connection.close()


@pytest.mark.parametrize("module", ["app", "app.load_corpus"])
def test_a_configuration_that_cannot_be_used_ends_with_2_and_its_name(module: str) -> None:
    done = run_module(module, {})
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "config-missing")
    assert "APP_" in done.stderr
