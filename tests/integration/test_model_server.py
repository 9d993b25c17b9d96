"""The model server as a process: whole answers and streams over real connections, overload, traces, and its end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from app.shared.digits import WEIGHTS, Digits
from tests.app_support import check_fields
from tests.digits_support import built_digits
from tests.integration import sinks
from tests.model_server_support import INFER, NEVER_MS, STREAM, entity_rows, infer_body, rows_body, value
from tests.unit.test_model_server_metrics import OPENMETRICS, check_families, families_of

SCHEMAS = Path(__file__).parents[2] / "monitoring/schema"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
DEADLINE = 20.0  # seconds, for anything


class Server:
    """A model server, ready."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        connection = self.connect()
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def value(self, series: str) -> float:
        return value(self.ask("/metrics")[1], series)

    def until(self, series: str, expected: float) -> None:
        """Wait until the metric has that value."""
        deadline = time.monotonic() + DEADLINE
        while (found := self.value(series)) != expected:
            assert time.monotonic() < deadline, f"{series} is {found}, expected {expected}"

    def stop(self) -> tuple[int, str]:
        """SIGTERM, and what became of it: the exit code and standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, said

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


Start = Callable[..., Server]


def spawn(**changes: str) -> subprocess.Popen[str]:
    given = {name: text for name, text in os.environ.items() if not name.startswith("APP_")}
    command = [sys.executable, "-m", "model_server"]
    return subprocess.Popen(command, env={**given, **changes}, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a model server, ready when it returns; what it needs beyond the defaults as variables."""
    running: list[subprocess.Popen[str]] = []

    def start(**changes: str) -> Server:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log = tmp_path / "model.jsonl"
        given = {"APP_LISTEN": f"127.0.0.1:{port}", "APP_DIGITS": str(built_digits()), "APP_LOG_FILE": str(log)}
        server = Server(spawn(**given, **changes), port, log)
        running.append(server.process)
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            assert server.process.poll() is None, server.process.communicate()[1]
            try:
                if server.ask("/v2/health/ready")[0] == 200:
                    return server
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError("the server did not get ready")

    yield start
    for process in running:
        process.kill()
        process.communicate()


def next_event(reply: http.client.HTTPResponse) -> dict[str, Any]:
    """The next event of a stream, as soon as it is there."""
    line, blank = reply.readline(), reply.readline()
    assert line.startswith(b"data: ") and blank == b"\n", line
    return dict(json.loads(line.removeprefix(b"data: ")))


def open_stream(server: Server, rows: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = server.connect()
    connection.request("POST", STREAM, infer_body(entity_rows(0, rows)))
    reply = connection.getresponse()
    assert (reply.status, reply.getheader("content-type")) == (200, "text/event-stream")
    return connection, reply


def test_the_entities_get_the_labels_that_the_manifest_promises(start: Start) -> None:
    server, digits = start(), Digits.open(built_digits())
    assert server.ask("/v2/health/live") == (200, '{"live":true}')
    assert json.loads(server.ask("/v2/models/digits")[1])["versions"] == [digits.model_version]
    labels: list[int] = []
    connection = server.connect()
    for entity in range(digits.size):
        connection.request("POST", INFER, infer_body(entity_rows(entity, 1)))
        reply = json.loads(connection.getresponse().read())
        labels += reply["outputs"][0]["data"]
    connection.close()
    assert np.mean(labels == digits.labels()) == digits.accuracy
    assert server.value('model_server_requests_total{endpoint="infer"}') == digits.size
    assert server.value("model_server_batch_rows_count") == digits.size


def test_concurrent_requests_share_batches_and_get_their_own_answers(start: Start) -> None:
    server, labels = start(APP_BATCH_SIZE="8", APP_BATCH_WAIT_MS=NEVER_MS), Digits.open(built_digits()).labels()

    def label(entity: int) -> int:
        status, body = server.ask(INFER, infer_body(entity_rows(entity, 1)))
        assert status == 200
        return int(json.loads(body)["outputs"][0]["data"][0])

    with ThreadPoolExecutor(8) as pool:  # nobody is answered before all eight have asked
        found = list(pool.map(label, range(64)))
    assert np.mean(found == labels[:64]) > 0.9
    assert server.value("model_server_batch_rows_count") == 8
    assert server.value('model_server_batch_rows_bucket{le="4.0"}') == 0


def test_events_arrive_before_the_last_row_is_computed(start: Start) -> None:
    server = start(APP_BATCH_SIZE="4", APP_BATCH_WAIT_MS=NEVER_MS)
    connection, reply = open_stream(server, 6)
    assert [next_event(reply)["index"] for _ in range(4)] == [0, 1, 2, 3]
    assert server.value("model_server_batch_rows_sum") == 4  # rows 4 and 5 wait for company
    assert server.value("model_server_in_flight_requests") == 1
    assert server.ask(INFER, rows_body(2))[0] == 200
    assert [next_event(reply)["index"] for _ in range(2)] == [4, 5]
    assert reply.read() == b""
    connection.close()
    assert server.value("model_server_batch_rows_sum") == 8
    assert server.value("model_server_time_to_first_result_seconds_count") == 1


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_nothing_more_is_computed_for_a_client_that_went_away(start: Start, path: str) -> None:
    server = start(APP_BATCH_SIZE="4", APP_BATCH_WAIT_MS=NEVER_MS)
    connection = server.connect()
    connection.request("POST", path, rows_body(6))
    server.until("model_server_batch_rows_sum", 4)
    connection.close()
    server.until("model_server_in_flight_requests", 0)
    assert server.ask(INFER, rows_body(4))[0] == 200
    assert server.value("model_server_batch_rows_sum") == 8
    assert server.stop() == (0, "")
    assert [(line["status"], line["batches"]) for line in server.lines()] == [("cancelled", 1), ("success", 1)]


def test_more_than_can_wait_is_refused_at_once_and_both_sides_count_the_same(start: Start) -> None:
    server, body, requests = start(APP_BATCH_SIZE="1"), rows_body(512), 24
    with ThreadPoolExecutor(requests) as pool:
        replies = list(pool.map(lambda _: server.ask(INFER, body), range(requests)))
    refused = [json.loads(text) for status, text in replies if status == 503]
    assert refused and {one["error"] for one in refused} == {"overloaded"}
    assert len(refused) < requests and {status for status, _ in replies} == {200, 503}
    assert server.value('model_server_requests_total{endpoint="infer"}') == requests
    assert server.value('model_server_errors_total{endpoint="infer"}') == len(refused)
    assert server.value("model_server_batch_rows_sum") == 512 * (requests - len(refused))
    assert server.ask(INFER, rows_body(1))[0] == 200


def test_after_a_body_that_is_too_large_or_broken_the_server_goes_on(start: Start) -> None:
    server = start()
    status, body = server.ask(INFER, b" " * 2_500_000)
    assert (status, json.loads(body)["error"]) == (413, "body-too-large")
    status, body = server.ask(INFER, b'{"inputs":')
    assert (status, json.loads(body)["error"]) == (400, "invalid-request")
    assert server.ask(INFER, rows_body(1))[0] == 200


def test_a_request_under_way_is_answered_before_the_end(start: Start) -> None:
    server = start(APP_BATCH_WAIT_MS="400")
    connection = server.connect()
    connection.request("POST", INFER, rows_body(1))
    server.until("model_server_in_flight_requests", 1)
    server.process.send_signal(signal.SIGTERM)
    reply = connection.getresponse()
    assert (reply.status, len(json.loads(reply.read())["outputs"])) == (200, 2)
    connection.close()
    _, said = server.process.communicate(timeout=DEADLINE)
    assert (server.process.returncode, said) == (0, "")
    assert [line["status"] for line in server.lines()] == ["success"]


def test_a_request_that_cannot_be_answered_is_told_so_and_does_not_hold_up_the_end(start: Start) -> None:
    server = start(APP_BATCH_WAIT_MS=NEVER_MS)
    connection = server.connect()
    connection.request("POST", INFER, rows_body(1))
    server.until("model_server_in_flight_requests", 1)
    server.process.send_signal(signal.SIGTERM)
    reply = connection.getresponse()
    assert (reply.status, json.loads(reply.read())["error"]) == (503, "stopping")
    connection.close()
    _, said = server.process.communicate(timeout=DEADLINE)
    assert server.process.returncode == 0
    assert "Traceback" not in said
    assert [(line["status"], line["error"]) for line in server.lines()] == [("error", "stopping")]


def test_a_scrape_is_what_the_schema_says(start: Start) -> None:
    status, text = start().ask("/metrics", accept=OPENMETRICS)
    assert status == 200
    check_families(families_of(text))
    assert "_created" not in text


def test_a_request_continues_its_callers_trace(start: Start, tmp_path: Path) -> None:
    parent = f"00-{TRACE}-{SPAN}-01"
    with sinks.running("otlp_sink", tmp_path / "spans.jsonl") as sink:
        server = start(APP_OTLP=f"http://{sink.host}:{sink.port}/v1/traces", APP_BATCH_WAIT_MS="0")
        assert server.ask(INFER, rows_body(40), traceparent=parent)[0] == 200
        assert server.ask(STREAM, rows_body(3), traceparent=parent)[0] == 200
        assert server.ask(INFER, b"{}", traceparent=parent)[0] == 400
        assert server.stop() == (0, "")  # its end sends what is queued
        spans = sink.lines()
    described = YAML(typ="safe").load((SCHEMAS / "spans.yaml").read_text())["spans"]
    schema = {span["name"]: span for span in described if span["service"] == "model-server"}
    assert {span["trace_id"] for span in spans} == {TRACE}
    assert {span["resource"]["service.name"] for span in spans} == {"model-server"}
    roots = [span for span in spans if span["kind"] == "server"]
    children = [span for span in spans if span["kind"] != "server"]
    assert [span["name"] for span in roots] == [f"POST {INFER}", f"POST {STREAM}", f"POST {INFER}"]
    assert {span["parent_span_id"] for span in roots} == {SPAN}
    assert [span["attributes"]["http.response.status_code"] for span in roots] == [200, 200, 400]
    assert [span["parent_span_id"] for span in children] == [span["span_id"] for span in roots[:2]]
    assert [(one["attributes"]["ai.batch.rows"], one["attributes"]["ai.batch.count"]) for one in children] == [
        (32, 2),
        (3, 1),
    ]
    for child, root in zip(children, roots, strict=False):
        assert root["start_ns"] <= child["start_ns"] <= child["end_ns"] <= root["end_ns"]
    for span in spans:
        assert schema[span["name"]]["kind"] == span["kind"]
        expected = schema[span["name"]]["attributes"]
        assert set(span["attributes"]) <= set(expected), span["name"]
        assert {name for name, one in expected.items() if one["required"]} <= set(span["attributes"]), span["name"]
    lines = {line["span_id"]: line for line in server.lines()}
    assert set(lines) == {span["span_id"] for span in roots}


def test_log_lines_reach_loki(start: Start) -> None:
    pushed: list[dict[str, Any]] = []

    class Loki(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pushed.extend(json.loads(self.rfile.read(int(self.headers["content-length"])))["streams"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Loki) as loki:
        Thread(target=partial(loki.serve_forever, poll_interval=0.01), daemon=True).start()
        server = start(APP_LOKI=f"http://127.0.0.1:{loki.server_port}")  # pushes every 5 s, and at the end
        assert server.ask(INFER, rows_body(2))[0] == 200
        assert server.stop() == (0, "")
        loki.shutdown()
    (stream,) = pushed
    assert stream["stream"] == {"service": "model-server", "component": "model_server", "level": "INFO"}
    line = json.loads(stream["values"][0][1])
    assert [line] == server.lines()
    schema = YAML(typ="safe").load((SCHEMAS / "logs.yaml").read_text())
    check_fields(line, schema["components"]["model_server"]["fields"])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"APP_DIGITS": ""}, "config-missing: APP_DIGITS is not set"),
        ({"APP_DIGITS": "nowhere"}, "digits-missing: no manifest.json in nowhere; build it with: python -m model_se"),
        ({"APP_LISTEN": "nowhere"}, "config-invalid: APP_LISTEN='nowhere'"),
        ({"APP_LOG_FILE": "/dev/null/log"}, "config-invalid: APP_LOG_FILE: "),
    ],
)
def test_a_configuration_that_cannot_be_used_ends_with_2_and_its_name(changes: dict[str, str], problem: str) -> None:
    process = spawn(**{"APP_LISTEN": "127.0.0.1:1", "APP_DIGITS": str(built_digits()), **changes})
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert said.startswith(problem) and said.count("\n") == 1


def test_a_damaged_model_is_not_served(tmp_path: Path) -> None:
    for file in built_digits().iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / WEIGHTS).write_bytes(b"no weights")
    process = spawn(APP_LISTEN="127.0.0.1:1", APP_DIGITS=str(tmp_path))
    _, said = process.communicate(timeout=DEADLINE)
    assert (process.returncode, said.split(":")[0]) == (2, "digits-damaged")


def test_a_port_that_is_taken_ends_it(start: Start) -> None:
    server = start()
    process = spawn(APP_LISTEN=f"127.0.0.1:{server.port}", APP_DIGITS=str(built_digits()))
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode != 0
    assert "address already in use" in said
