"""The app on its real dependencies: right answers, the effort that recall depends on, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2 import connect

from app.config import COLLECTION
from harness.stack.runtime import Stack

pytestmark = pytest.mark.stack

Start = Callable[..., "App"]


class App:
    """A process of its own, on the stack's services."""

    def __init__(self, process: subprocess.Popen[str], address: str, log: Path) -> None:
        self.process = process
        self.url = f"http://{address}"
        self.log = log

    def get(self, path: str) -> tuple[int, str]:
        return fetch(urllib.request.Request(self.url + path))

    def search(self, query: str, top_k: int = 10, **headers: str) -> tuple[int, Any]:
        status, body = search(self.url, query, top_k, **headers)
        return status, json.loads(body)


def fetch(request: urllib.request.Request) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


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
    return {
        **os.environ,
        "APP_POSTGRES": f"postgresql://postgres@{stack.address('postgres.sql')}/postgres",
        "APP_MILVUS": f"http://{stack.address('milvus.grpc')}",
        "APP_CORPUS": str(stack.artefact("corpus")),
        **changes,
    }


@pytest.fixture
def start(reference_stack: Stack, tmp_path: Path) -> Iterator[Start]:
    """Starts an app beside the stack's own, healthy when it returns."""
    running: list[subprocess.Popen[str]] = []

    def start(**changes: str) -> App:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        log = tmp_path / "app.jsonl"
        given = environment(reference_stack, APP_LISTEN=address, APP_LOG_FILE=str(log), **changes)
        process = subprocess.Popen([sys.executable, "-m", "app"], env=given, stderr=subprocess.PIPE, text=True)
        running.append(process)
        app = App(process, address, log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[1]
            try:
                status, body = app.get("/healthz")
                if status == 200:
                    return app
            except OSError:
                body = "nothing listens yet"
            time.sleep(0.05)
        raise AssertionError(body)

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


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
        assert app.search(question["text"])[0] == 200
    _, metrics = app.get("/actuator/prometheus")
    assert re.search(rf"^vector_search_requests_total\{{.*\}} {len(asked)}\.0$", metrics, re.MULTILINE)
    app.process.send_signal(signal.SIGTERM)
    assert app.process.wait(timeout=10) == 0
    assert app.process.communicate()[1] == ""
    lines = [json.loads(line) for line in app.log.read_text().splitlines()]
    assert [(line["status"], line["results_count"]) for line in lines] == [("success", 10)] * len(asked)


def test_a_connection_that_the_server_closed_is_replaced_and_counted(start: Start, reference_stack: Stack) -> None:
    app = start()
    query = questions(reference_stack, every=500)[0]["text"]
    assert app.search(query)[0] == 200
    with connect(environment(reference_stack)["APP_POSTGRES"]) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'app'")
        assert cursor.rowcount >= 1
    other.close()
    assert app.search(query)[0] == 200
    _, metrics = app.get("/actuator/prometheus")
    assert 'app_dependency_retries_total{dependency="postgres"} 1.0' in metrics
    assert 'app_dependency_errors_total{dependency="postgres"} 0.0' in metrics


def test_loading_again_only_verifies_and_a_missing_row_is_an_error(reference_stack: Stack) -> None:
    def load() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "app.load_corpus"]
        given = environment(reference_stack)
        return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)

    again = load()
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("were there") == 2
    with connect(environment(reference_stack)["APP_POSTGRES"]) as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {COLLECTION} WHERE id = 0 RETURNING *")
        row = cursor.fetchone()
    try:
        broken = load()
        assert broken.returncode == 1
        assert broken.stderr.startswith("load-incomplete: PostgreSQL holds 20,479 of 20,480 documents")
    finally:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {COLLECTION} VALUES (%s, %s, %s, %s)", row)
        connection.close()


@pytest.mark.parametrize("module", ["app", "app.load_corpus"])
def test_a_configuration_that_cannot_be_used_ends_with_2_and_its_name(module: str) -> None:
    given = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
    done = subprocess.run(
        [sys.executable, "-m", module], env=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "config-missing")
    assert "APP_" in done.stderr
