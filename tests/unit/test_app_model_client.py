"""The model server's client against peers that answer well, badly, late or not at all."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider

from app.metrics import Metrics
from app.model_client import ModelClient, Prediction
from app.shared.dependency import MODEL_SERVER, Caller, DependencyError

ROW = np.arange(80, dtype=np.float32).reshape(1, 80) / 7
GOOD = {
    "model_name": "digits",
    "model_version": "v9",
    "outputs": [
        {"name": "label", "shape": [1], "datatype": "INT64", "data": [2]},
        {"name": "probability", "shape": [1, 10], "datatype": "FP32", "data": [0.0, 0.1, 0.9, *[0.0] * 7]},
    ],
}


def with_label(label: object) -> dict[str, Any]:
    return {**GOOD, "outputs": [{"name": "label", "data": [label]}, GOOD["outputs"][1]]}  # type: ignore[index]


class Peer:
    """Answers each request with the next of `answers`: (status, body), "hang" or "hang up"; remembers what came."""

    def __init__(self, *answers: tuple[int, object] | str) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._answers = list(answers)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append((head[0], headers, body))
                answer = self._answers.pop(0)
                if answer == "hang":
                    await asyncio.Event().wait()
                if isinstance(answer, str):
                    return
                text = answer[1].encode() if isinstance(answer[1], str) else json.dumps(answer[1]).encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (answer[0], len(text), text))
        except asyncio.IncompleteReadError:
            pass  # the client is done
        finally:
            writer.close()


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[ModelClient]:
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    client = ModelClient("http://127.0.0.1:{1}".format(*server.sockets[0].getsockname()), "digits")
    try:
        yield client
    finally:
        await client.close()
        server.close()


def ask(peer: Peer, times: int = 1, deadline: float = 20.0) -> tuple[list[Prediction | str], Metrics]:
    """The predictions, or the slugs of what was raised instead."""
    metrics = Metrics("digits", "v1")
    call = Caller(TracerProvider().get_tracer("test"), metrics)

    async def scenario() -> list[Prediction | str]:
        found: list[Prediction | str] = []
        async with listening(peer) as client:
            for _ in range(times):
                try:
                    found.append(await call(MODEL_SERVER, "infer", lambda: client.predict(ROW), deadline=deadline))
                except DependencyError as error:
                    found.append(error.slug)
        return found

    return asyncio.run(scenario()), metrics


def counted(metrics: Metrics, what: str) -> float | None:
    return metrics.registry.get_sample_value(f"app_dependency_{what}_total", {"dependency": MODEL_SERVER})


def test_a_row_is_asked_about_in_the_open_inference_protocol_on_one_connection_within_the_callers_trace() -> None:
    peer = Peer((200, GOOD), (200, GOOD))
    found, metrics = ask(peer, times=2)
    assert found == [Prediction(2, 0.9, "digits", "v9")] * 2
    (line, headers, body), second = peer.requests
    assert line == "POST /v2/models/digits/infer HTTP/1.1"
    (tensor,) = json.loads(body)["inputs"]
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("features", [1, 80], "FP32")
    assert np.array_equal(np.array(tensor["data"], dtype=np.float32), ROW[0])
    traces = [re.fullmatch("00-([0-9a-f]{32})-[0-9a-f]{16}-0[13]", one["traceparent"]) for one in (headers, second[1])]
    assert None not in traces and traces[0] != traces[1]
    assert (counted(metrics, "retries"), counted(metrics, "errors")) == (0, 0)


@pytest.mark.parametrize(
    ("answer", "slug"),
    [
        ((503, {"error": "overloaded", "detail": "full"}), "model-server-overloaded"),
        ((503, {"error": "not-ready"}), "model-server-not-ready"),
        ((503, "<html>"), "model-server-refused"),
        ((500, {"error": "inference-failed"}), "model-server-refused"),
        ((400, {"error": "invalid-input"}), "model-server-refused"),
        ((302, []), "model-server-refused"),
        ((200, "no json"), "model-server-invalid"),
        ((200, {}), "model-server-invalid"),
        ((200, {**GOOD, "outputs": []}), "model-server-invalid"),
        ((200, with_label(10)), "model-server-invalid"),
        ((200, with_label(-1)), "model-server-invalid"),
        ((200, with_label("2")), "model-server-invalid"),
        ((200, [1, 2]), "model-server-invalid"),
    ],
)
def test_an_answer_that_is_of_no_use_is_an_error_and_not_asked_for_again(answer: tuple[int, object], slug: str) -> None:
    peer = Peer(answer)
    found, metrics = ask(peer)
    assert found == [slug]
    assert (counted(metrics, "retries"), counted(metrics, "errors")) == (0, 1)


def test_a_lost_connection_is_tried_once_more() -> None:
    found, metrics = ask(Peer("hang up", (200, GOOD), "hang up", "hang up"), times=2)
    assert found == [Prediction(2, 0.9, "digits", "v9"), "model-server-unreachable"]
    assert (counted(metrics, "retries"), counted(metrics, "errors")) == (2, 1)


def test_a_hung_server_is_given_up_at_the_deadline() -> None:
    found, metrics = ask(Peer("hang", (200, GOOD)), times=2, deadline=0.3)
    assert found == ["model-server-timeout", Prediction(2, 0.9, "digits", "v9")]
    assert (counted(metrics, "retries"), counted(metrics, "errors")) == (0, 1)
