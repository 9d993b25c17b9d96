"""The sink as a process: it takes what an exporter sends, refuses the rest by name, and never grows past its limit."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from harness.telemetry.traces import copy_spans
from tests.integration import sinks
from tests.integration.sinks import Running

PROTOBUF = {"content-type": "application/x-protobuf"}


def export(sink: Running, body: bytes, **headers: str) -> tuple[int, bytes]:
    return sink.ask("POST", "/v1/traces", body, {**PROTOBUF, **headers})


running = partial(sinks.running, "otlp_sink")


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("sink") / "deep" / "spans.jsonl") as sink:
        yield sink


def request(count: int = 1, name: str = "search", start_ns: int = 1_000) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    of_resource = made.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "app"
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = "tests"
    for at in range(count):
        span = of_scope.spans.add(name=name, trace_id=b"\x01" * 16, span_id=bytes([0] * 7 + [at % 256]), kind=2)
        span.start_time_unix_nano, span.end_time_unix_nano = start_ns + at, start_ns + at + 500
    return made


def test_a_span_becomes_a_line_with_all_that_it_says(sink: Running) -> None:
    made = request(name="complete")
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.parent_span_id = b"\x02" * 8
    span.status.code, span.status.message = 2, "no answer"
    span.attributes.add(key="http.status_code").value.int_value = 503
    span.attributes.add(key="share").value.double_value = float("nan")
    span.attributes.add(key="raw").value.bytes_value = b"\xff"
    span.attributes.add(key="flags").value.array_value.values.add().bool_value = True
    span.attributes.add(key="none")
    status, body = export(sink, made.SerializeToString())
    assert status == 200
    assert not ExportTraceServiceResponse.FromString(body).HasField("partial_success")
    (line,) = [one for one in sink.lines() if one["name"] == "complete"]
    assert line.pop("received_ns") > 1_000_000_000_000_000_000
    assert line == {
        "trace_id": "01" * 16,
        "span_id": "00" * 8,
        "parent_span_id": "02" * 8,
        "name": "complete",
        "kind": "server",
        "start_ns": 1000,
        "end_ns": 1500,
        "status": {"code": "error", "message": "no answer"},
        "attributes": {"http.status_code": 503, "share": "nan", "raw": "ff", "flags": [True], "none": None},
        "resource": {"service.name": "app"},
        "scope": "tests",
    }


def test_the_real_exporter_delivers(sink: Running) -> None:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"http://{sink.host}:{sink.port}/v1/traces", compression=Compression.Gzip)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner"):
        pass
    provider.shutdown()
    lines = {line["name"]: line for line in sink.lines()}
    assert lines["inner"]["trace_id"] == lines["outer"]["trace_id"] == f"{outer.get_span_context().trace_id:032x}"
    assert lines["inner"]["parent_span_id"] == lines["outer"]["span_id"]
    assert (lines["outer"]["parent_span_id"], lines["outer"]["kind"]) == ("", "internal")


def test_health_and_other_paths(sink: Running) -> None:
    assert sink.ask("GET", "/healthz")[0] == 200
    assert sink.ask("GET", "/nothing")[0] == 404
    assert sink.ask("GET", "/v1/traces")[0] == 405


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b'{"resourceSpans": []}', {"content-type": "application/json"}, 415, "application/json"),
        (b"x", {"content-type": "text/plain"}, 415, "text/plain"),
        (b"\xff\xff\xff", {}, 400, "not an ExportTraceServiceRequest"),
        (b"no gzip", {"content-encoding": "gzip"}, 400, "not gzip"),
        (gzip.compress(request().SerializeToString())[:-6], {"content-encoding": "gzip"}, 400, "cut off"),
        (gzip.compress(bytes(70 << 20), 1), {"content-encoding": "gzip"}, 413, "when unpacked"),
        (bytes(17 << 20), {}, 413, "in one request"),
        (b"x", {"content-encoding": "zstd"}, 415, "zstd"),
    ],
    ids=["json", "text", "not-protobuf", "not-gzip", "cut-off", "gzip-bomb", "too-long", "zstd"],
)
def test_what_cannot_be_read_is_refused_and_counted(
    sink: Running, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    before = sink.stats()
    answered, reply = export(sink, body, **headers)
    assert answered == status
    assert message in Status.FromString(reply).message
    after = sink.stats()
    assert after["refused"] == before["refused"] + 1
    assert after["received"] == before["received"]
    assert export(sink, request().SerializeToString())[0] == 200


def test_past_its_limit_spans_are_dropped_counted_and_the_sender_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "spans.jsonl", ["--max-bytes", "3000"]) as sink:
        status, body = export(sink, request(20).SerializeToString())
        assert status == 200
        rejected = ExportTraceServiceResponse.FromString(body).partial_success
        kept = len(sink.lines())
        assert 0 < kept < 20
        assert rejected.rejected_spans == 20 - kept
        assert "limit of 3000 bytes" in rejected.error_message
        stats = sink.stats()
        assert (stats["received"], stats["dropped"]) == (20, 20 - kept)
        assert stats["file"] == sink.out.stat().st_size <= 3000


def test_sigterm_ends_it_in_good_order(tmp_path: Path) -> None:
    with running(tmp_path / "spans.jsonl") as sink:
        assert export(sink, request(3).SerializeToString())[0] == 200
        sink.process.terminate()
        assert sink.process.wait(10) in (0, -15)
    assert len(sink.lines()) == 3


def test_an_address_that_is_taken_is_named(sink: Running, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.telemetry.otlp_sink", "--listen", f"{sink.host}:{sink.port}"]
    done = subprocess.run([*command, "--out", str(tmp_path / "x")], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_takes_no_more_leaves_no_torn_line(tmp_path: Path) -> None:
    small = request(2).SerializeToString()
    with running(tmp_path / "spans.jsonl", file_size=2000) as sink:
        assert export(sink, small)[0] == 200
        rejected = ExportTraceServiceResponse.FromString(
            export(sink, request(20).SerializeToString())[1]
        ).partial_success
        assert (rejected.rejected_spans, "File too large" in rejected.error_message) == (20, True)
        assert export(sink, small)[0] == 200
        assert len(sink.lines()) == 4
        assert sink.stats()["file"] == sink.out.stat().st_size


def test_the_spans_of_a_window_are_copied(tmp_path: Path) -> None:
    lines = [f'{{"start_ns":{at}}}\n' for at in (99, 100, 150, 200, 201)]
    (tmp_path / "all.jsonl").write_text("".join(lines) + '{"start_ns":150')
    assert copy_spans(tmp_path / "all.jsonl", tmp_path / "run" / "kept.jsonl", 100, 200) == 3
    assert (tmp_path / "run" / "kept.jsonl").read_text() == "".join(lines[1:4])
    assert copy_spans(tmp_path / "none.jsonl", tmp_path / "kept.jsonl", 0, 1) == 0
    assert (tmp_path / "kept.jsonl").read_text() == ""
