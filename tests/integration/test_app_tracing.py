"""Spans reach a collector with their parents, and a collector that hangs holds nobody up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from ruamel.yaml import YAML

from app.shared.tracing import Tracing
from tests.app_support import Ask, app_config, make_app, serve

SCHEMA = Path(__file__).parents[2] / "monitoring/schema/spans.yaml"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """The URL of an OTLP endpoint, and the spans that it received."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_search_is_one_trace_below_its_callers_span(collector: tuple[str, list[Any]], tmp_path: Path) -> None:
    url, spans = collector
    app = make_app(app_config(tmp_path, APP_OTLP=url))

    async def conversation(ask: Ask) -> None:
        await ask("POST", "/search", b'{"query": "aa ab ac ba bb"}', {"traceparent": f"00-{TRACE}-{SPAN}-01"})

    serve(app, conversation)  # its end sends what is queued
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {"POST /search", "embed", "milvus.search"}  # Milvus refused: PostgreSQL was not asked
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    root = by_name["POST /search"]
    assert root.parent_span_id.hex() == SPAN
    assert by_name["embed"].parent_span_id == by_name["milvus.search"].parent_span_id == root.span_id
    assert by_name["embed"].status.code == 0 and root.status.code == by_name["milvus.search"].status.code == 2
    schema = {span["name"]: span for span in YAML(typ="safe").load(SCHEMA.read_text())["spans"]}
    for span in spans:
        described = schema[span.name]
        found = {attribute.key for attribute in span.attributes}
        assert found <= set(described["attributes"]), span.name
        assert {name for name, one in described["attributes"].items() if one["required"]} <= found, span.name
        assert span.kind == {"internal": 1, "server": 2, "client": 3}[described["kind"]]


def test_a_collector_that_hangs_delays_neither_spans_nor_the_end(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:
        tracing = Tracing(f"http://127.0.0.1:{hung.getsockname()[1]}/v1/traces", time_scale=50, service="service")
        start = time.monotonic()
        for _ in range(10_000):  # more than the queue holds
            tracing.tracer.start_span("one").end()
        tracing.close(timeout=0.2)
        assert time.monotonic() - start < 10  # far from the exporter's own patience
    assert (capfd.readouterr().err, caplog.messages) == ("", [])
