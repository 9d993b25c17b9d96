"""The model server's HTTP face: right answers, refusals, streams piece by piece, and what is counted and logged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from app.shared.digits import Digits
from app.shared.environment import ConfigError
from app.shared.features import Matrix
from model_server.config import ServerConfig
from tests.app_support import check_fields
from tests.digits_support import built_digits
from tests.model_server_support import (
    INFER,
    NEVER_MS,
    STREAM,
    Client,
    Gate,
    converse,
    entity_rows,
    infer_body,
    rows_body,
    server,
    value,
)

SCHEMA = Path(__file__).parents[2] / "monitoring/schema/logs.yaml"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in body.decode().split("\n\n") if line]


def log_lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "model.jsonl").read_text().splitlines()]


async def metrics_of(client: Client) -> str:
    return (await client.ask("/metrics")).body.decode()


def count(metrics: str, name: str, endpoint: str) -> float:
    return value(metrics, f'model_server_{name}{{endpoint="{endpoint}"}}')


def test_the_entities_get_the_labels_that_the_manifest_promises(tmp_path: Path) -> None:
    digits = Digits.open(built_digits())

    async def conversation(client: Client) -> tuple[list[int], list[int]]:
        bodies = [infer_body(entity_rows(first, 400)) for first in (0, 400)]
        whole = [json.loads((await client.ask(INFER, body)).body) for body in bodies]
        streamed = [events_of((await client.ask(STREAM, body)).body) for body in bodies]
        assert [one["outputs"][0]["shape"] for one in whole] == [[400], [397]]
        assert [[event["index"] for event in one] for one in streamed] == [[*range(400)], [*range(397)]]
        labels = [label for one in whole for label in one["outputs"][0]["data"]]
        return labels, [event["label"] for one in streamed for event in one]

    labels, streamed = converse(server(tmp_path), conversation)
    assert labels == streamed
    assert np.mean(labels == digits.labels()) == digits.accuracy


def test_probabilities_add_up_and_the_id_comes_back(tmp_path: Path) -> None:
    async def conversation(client: Client) -> Any:
        return (await client.ask(INFER, infer_body(entity_rows(0, 3), id="mine"))).json()

    reply = converse(server(tmp_path), conversation)
    assert (reply["model_name"], reply["model_version"], reply["id"]) == ("digits", "digits-mlp-v1", "mine")
    rows = np.reshape(reply["outputs"][1]["data"], reply["outputs"][1]["shape"])
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-4)
    assert rows.argmax(axis=1).tolist() == reply["outputs"][0]["data"]


def test_it_lives_at_once_and_is_ready_after_its_own_first_inference(tmp_path: Path) -> None:
    gate = Gate()

    async def conversation(client: Client) -> None:
        assert (await client.ask("/v2/health/live")).status == 200
        waiting = await client.ask("/v2/health/ready")
        assert (waiting.status, waiting.json()["ready"], waiting.json()["error"]) == (503, False, "not-ready")
        refused = await client.ask(INFER, rows_body(1))
        assert (refused.status, refused.json()["error"]) == (503, "not-ready")
        gate.let()
        await client.until_ready()
        gate.let()
        assert (await client.ask(INFER, rows_body(1))).status == 200
        metrics = await metrics_of(client)
        assert (count(metrics, "requests_total", "infer"), count(metrics, "errors_total", "infer")) == (2, 1)
        assert value(metrics, "model_server_batch_rows_count") == 1  # its own inference is nobody's request

    converse(server(tmp_path, gate), conversation, ready=False)


def test_a_model_that_gives_no_probabilities_never_gets_ready(tmp_path: Path) -> None:
    def broken(rows: Matrix) -> Matrix:
        return np.full((len(rows), 10), np.nan, dtype=np.float32)

    async def conversation(client: Client) -> Any:
        async def tried() -> bool:
            return "no probabilities" in (await client.ask("/v2/health/ready")).json()["detail"]

        await client.until(tried)
        return await client.ask("/v2/health/ready")

    assert converse(server(tmp_path, broken), conversation, ready=False).status == 503


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_an_invalid_request_is_refused_and_counted_but_is_no_error(path: str, tmp_path: Path) -> None:
    async def conversation(client: Client) -> tuple[Any, str]:
        return await client.ask(path, b"{}"), await metrics_of(client)

    reply, metrics = converse(server(tmp_path), conversation)
    assert (reply.status, reply.json()["error"]) == (400, "invalid-request")
    endpoint = path.rpartition("/")[2]
    assert (count(metrics, "requests_total", endpoint), count(metrics, "errors_total", endpoint)) == (1, 0)


@pytest.mark.parametrize(("size", "headers"), [(2_097_153, {}), (0, {"content-length": "2097153"})])
def test_a_body_that_is_too_large_is_refused(size: int, headers: dict[str, str], tmp_path: Path) -> None:
    async def conversation(client: Client) -> Any:
        exchange = client.open(INFER, b" " * size, **headers)  # or is announced to be, before any of it has come
        head = await exchange.next()
        assert (b"connection", b"close") in head["headers"]
        return head["status"], json.loads((await exchange.next())["body"])["error"]

    assert converse(server(tmp_path), conversation) == (413, "body-too-large")


def test_other_models_paths_and_methods_are_named_refused_and_not_counted(tmp_path: Path) -> None:
    async def conversation(client: Client) -> list[tuple[int, str]]:
        body = rows_body(1)
        asked = [
            await client.ask("/v2/models/iris/infer", body),
            await client.ask("/v2/models/iris"),
            await client.ask("/v2/models/digits/explain", body),
            await client.ask("/v2/models/digits/infer/", body),
            await client.ask("/v2/health/live/"),
            await client.ask(INFER),
            await client.ask("/v2/health/live", body),
        ]
        assert count(await metrics_of(client), "requests_total", "infer") == 0
        return [(reply.status, reply.json()["error"]) for reply in asked]

    found = converse(server(tmp_path), conversation)
    assert found[:2] == [(404, "unknown-model")] * 2
    assert found[2:] == [(404, "not-found"), (404, "not-found"), (404, "not-found")] + [(405, "method-not-allowed")] * 2


def test_a_full_queue_is_overload_at_once(tmp_path: Path) -> None:
    gate = Gate()
    gate.let()

    async def conversation(client: Client) -> None:
        busy = client.open(INFER, rows_body(32))  # one batch, which the gate holds
        await client.until_value("model_server_queue_duration_seconds_count", 1)
        queued = [client.open(INFER, rows_body(512)) for _ in range(4)]
        await client.until_value("model_server_in_flight_requests", 5)
        reply = await client.ask(INFER, rows_body(1))
        assert (reply.status, reply.json()["error"]) == (503, "overloaded")
        assert "2048 rows are waiting" in reply.json()["detail"]
        metrics = await metrics_of(client)
        assert (count(metrics, "requests_total", "infer"), count(metrics, "errors_total", "infer")) == (6, 1)
        gate.let(65)
        assert [(await exchange.reply()).status for exchange in (busy, *queued)] == [200] * 5

    converse(server(tmp_path, gate), conversation)


def test_a_stream_sends_each_batch_before_the_next_is_computed(tmp_path: Path) -> None:
    gate = Gate()
    gate.let()

    async def conversation(client: Client) -> None:
        stream = client.open(STREAM, infer_body(entity_rows(0, 10)))
        gate.let()
        head = await stream.next()
        assert head["status"] == 200
        assert (b"content-type", b"text/event-stream") in head["headers"]
        first = await stream.next()
        assert [event["index"] for event in events_of(first["body"])] == [0, 1, 2, 3]
        assert gate.sizes == [1, 4]  # its own first inference, and one batch
        assert value(await metrics_of(client), "model_server_time_to_first_result_seconds_count") == 1
        gate.let(2)
        assert [event["index"] for event in events_of((await stream.next())["body"])] == [4, 5, 6, 7]
        assert [event["index"] for event in events_of((await stream.next())["body"])] == [8, 9]
        assert await stream.next() == {"type": "http.response.body"}
        assert (await stream.next())["type"] == "end"

    converse(server(tmp_path, gate, APP_BATCH_SIZE="4", APP_BATCH_WAIT_MS="0"), conversation)


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_when_the_client_goes_away_its_rows_are_computed_no_further(path: str, tmp_path: Path) -> None:
    gate = Gate()
    gate.let()

    async def conversation(client: Client) -> None:
        gone = client.open(path, rows_body(10))
        await client.until_value("model_server_queue_duration_seconds_count", 1)
        gone.hang_up()
        await gone.task
        gate.let(2)
        assert (await client.ask(INFER, rows_body(4))).status == 200
        assert gate.sizes == [1, 4, 4]  # of the ten rows, four were under way
        metrics = await metrics_of(client)
        assert count(metrics, "errors_total", path.rpartition("/")[2]) == 0
        assert value(metrics, "model_server_in_flight_requests") == 0

    converse(server(tmp_path, gate, APP_BATCH_SIZE="4", APP_BATCH_WAIT_MS=NEVER_MS), conversation)
    assert [line["status"] for line in log_lines(tmp_path)] == ["cancelled", "success"]


def test_a_client_that_goes_away_before_its_body_has_come_is_cancelled(tmp_path: Path) -> None:
    async def conversation(client: Client) -> None:
        gone = client.open(INFER, rows_body(1))
        gone._body = None  # nothing of it arrives
        gone.hang_up()
        assert (await gone.next())["type"] == "end"

    converse(server(tmp_path), conversation)
    (line,) = log_lines(tmp_path)
    assert (line["status"], line["rows"], line["queue_ms"]) == ("cancelled", None, None)


def failing(rows: Matrix) -> Matrix:
    """Computes until it sees a row of nines."""
    if (rows == 9).all(axis=1).any():
        raise FloatingPointError("nines")
    return np.full((len(rows), 10), 0.1, dtype=np.float32)


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_a_failed_computation_is_an_error_of_the_server(path: str, tmp_path: Path) -> None:
    async def conversation(client: Client) -> tuple[Any, str]:
        reply = await client.ask(path, rows_body(1, 9))
        assert (await client.ask(path, rows_body(1))).status == 200
        return reply, await metrics_of(client)

    reply, metrics = converse(server(tmp_path, failing), conversation)
    assert reply.status == 500
    assert reply.json() == {"error": "inference-failed", "detail": "FloatingPointError: nines"}
    endpoint = path.rpartition("/")[2]
    assert (count(metrics, "requests_total", endpoint), count(metrics, "errors_total", endpoint)) == (2, 1)


def test_a_stream_that_fails_in_the_middle_says_so_in_its_last_event(tmp_path: Path) -> None:
    rows = np.zeros((6, 80), dtype=np.float32)
    rows[5] = 9

    async def conversation(client: Client) -> tuple[Any, str]:
        return await client.ask(STREAM, infer_body(rows)), await metrics_of(client)

    changes = {"APP_BATCH_SIZE": "4", "APP_BATCH_WAIT_MS": "0"}
    reply, metrics = converse(server(tmp_path, failing, **changes), conversation)
    assert reply.status == 200
    *done, failed, empty = reply.body.decode().split("\n\n")
    assert [json.loads(one.removeprefix("data: "))["index"] for one in done] == [0, 1, 2, 3]
    assert failed.startswith('event: error\ndata: {"error":"inference-failed"') and empty == ""
    assert count(metrics, "errors_total", "infer_stream") == 1
    (line,) = log_lines(tmp_path)
    assert (line["status"], line["error"], line["level"]) == ("error", "inference-failed", "ERROR")


def test_a_request_that_is_cut_off_by_the_end_is_told_so_and_counts_as_an_error(tmp_path: Path) -> None:
    gate = Gate()
    gate.let(2)

    async def conversation(client: Client) -> None:
        begun = client.open(STREAM, rows_body(5))
        assert [(await begun.next())["type"] for _ in range(2)] == ["http.response.start", "http.response.body"]
        cut = client.open(INFER, rows_body(1))
        await client.until_value("model_server_in_flight_requests", 2)
        for exchange in (cut, begun):
            exchange.task.cancel()
        reply = await cut.reply()
        assert (reply.status, reply.json()["error"]) == (503, "stopping")
        assert (await begun.next())["body"].startswith(b'event: error\ndata: {"error":"stopping"')
        await begun.task
        metrics = await metrics_of(client)
        assert [count(metrics, "errors_total", name) for name in ("infer", "infer_stream")] == [1, 1]
        assert value(metrics, "model_server_in_flight_requests") == 0

    converse(server(tmp_path, gate, APP_BATCH_SIZE="4", APP_BATCH_WAIT_MS=NEVER_MS), conversation)
    assert [(line["status"], line["error"]) for line in log_lines(tmp_path)] == [("error", "stopping")] * 2


def test_each_request_leaves_one_log_line_of_the_described_form(tmp_path: Path) -> None:
    async def conversation(client: Client) -> None:
        caller = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        await client.ask(INFER, rows_body(70), **caller)
        await client.ask(STREAM, rows_body(2), **caller)
        await client.ask(INFER, b"{}", **caller)
        await client.ask(INFER, rows_body(1, 9), **caller)

    converse(server(tmp_path, failing, APP_BATCH_WAIT_MS="0"), conversation)
    lines = log_lines(tmp_path)
    assert [line["status"] for line in lines] == ["success", "success", "invalid", "error"]
    assert [line["level"] for line in lines] == ["INFO", "INFO", "WARNING", "ERROR"]
    assert [line["event"] for line in lines] == ["infer", "infer_stream", "infer", "infer"]
    assert [(line["rows"], line["batches"]) for line in lines] == [(70, 3), (2, 1), (None, 0), (1, 1)]
    assert {line["trace_id"] for line in lines} == {TRACE}
    assert len({line["span_id"] for line in lines} - {SPAN}) == 4
    assert all(0 <= line["queue_ms"] <= line["latency_ms"] for line in lines if line["queue_ms"] is not None)
    fields = YAML(typ="safe").load(SCHEMA.read_text())["components"]["model_server"]["fields"]
    for line in lines:
        check_fields(line, fields)


def test_an_error_nobody_foresaw_is_answered_and_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_server.endpoints.infer_reply", lambda *_: 1 // 0)

    async def conversation(client: Client) -> None:
        exchange = client.open(INFER, rows_body(1))
        assert (await exchange.next())["status"] == 500
        assert json.loads((await exchange.next())["body"])["error"] == "internal"
        with pytest.raises(ZeroDivisionError):
            await exchange.task
        assert count(await metrics_of(client), "errors_total", "infer") == 1

    converse(server(tmp_path), conversation)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"APP_LISTEN": ""}, "config-missing: APP_LISTEN"),
        ({"APP_DIGITS": ""}, r"config-missing: APP_DIGITS is not set, expected .*build_model"),
        ({"APP_BATCH_SIZE": "0"}, "config-invalid: APP_BATCH_SIZE='0': expected a whole number from 1 to 1024"),
        ({"APP_BATCH_SIZE": "many"}, "config-invalid: APP_BATCH_SIZE"),
        ({"APP_BATCH_WAIT_MS": "-1"}, "config-invalid: APP_BATCH_WAIT_MS='-1': expected a number from 0 to 60000"),
        ({"APP_BATCH_WAIT_MS": "nan"}, "config-invalid: APP_BATCH_WAIT_MS"),
        ({"APP_TIME_SCALE": "0"}, "config-invalid: APP_TIME_SCALE"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_by_name(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ServerConfig.from_environment({"APP_LISTEN": "127.0.0.1:0", "APP_DIGITS": "digits", **changes})


def test_defaults() -> None:
    config = ServerConfig.from_environment({"APP_LISTEN": "127.0.0.1:0", "APP_DIGITS": "digits"})
    assert (config.batch_size, config.batch_wait) == (32, 0.002)
    assert re.fullmatch("127.0.0.1", config.listen.host)
