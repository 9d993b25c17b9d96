"""The sink for spans, a process of its own: `python -m harness.telemetry.otlp_sink --listen HOST:PORT --out FILE`.

OTLP/HTTP as the OpenTelemetry protocol says: POST /v1/traces takes protobuf, also gzipped, and answers with an
ExportTraceServiceResponse; errors carry a google.rpc.Status. JSON is refused with 415, who does not
show the token of --token-file with 401. GET /healthz is 200 as soon as
it listens; GET /stats is JSON: received, dropped, refused, bytes, file. Each span becomes one line of FILE
(harness.telemetry.otlp_spans), readable as soon as the export is answered.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import Any

import orjson
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from harness.core.clock import wall_ns
from harness.telemetry.line_file import LineFile
from harness.telemetry.otlp_spans import span_lines
from harness.telemetry.sink import Receive, Refused, Send, Token, answer, read_body, serve_sink

MAX_BODY = 16 << 20  # as sent
MAX_PLAIN = 64 << 20  # unpacked
PROTOBUF = b"application/x-protobuf"


class SpanSink:
    """The ASGI application, and what it counts. One event loop, one file."""

    def __init__(self, file: LineFile, token: Token | None = None) -> None:
        self.file = file
        self.token = token or Token()
        self.received = 0  # spans in requests that could be read
        self.dropped = 0  # of these, not written
        self.refused = 0  # requests that could not be read
        self.bytes = 0  # of request bodies, as sent

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        route = (scope["method"], scope["path"])
        if route == ("POST", "/v1/traces"):
            await self._export(scope, receive, send)
        elif route in (("GET", "/healthz"), ("HEAD", "/healthz")):
            await answer(send, 200, b"ok\n", b"text/plain")
        elif route == ("GET", "/stats"):
            await answer(send, 200, orjson.dumps(self.stats()), b"application/json")
        else:
            known = scope["path"] in ("/v1/traces", "/healthz", "/stats")
            await answer(send, 405 if known else 404, b"", b"text/plain")

    def stats(self) -> dict[str, int]:
        """Counts since the start; `file` is the size of the file in bytes."""
        return {
            "received": self.received,
            "dropped": self.dropped,
            "refused": self.refused,
            "bytes": self.bytes,
            "file": self.file.size,
        }

    async def _export(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            self.token.check(scope)
            headers = dict(scope["headers"])
            request = _parse(await self._body(headers, receive), headers)
        except Refused as refused:
            self.refused += 1
            # Whoever is refused in mid-body still sends: the connection is not fit for another request.
            code = 16 if refused.status == 401 else 3  # UNAUTHENTICATED, INVALID_ARGUMENT
            status = Status(code=code, message=str(refused)).SerializeToString()
            await answer(send, refused.status, status, PROTOBUF, close=True)
            return
        lines = span_lines(request, wall_ns())
        written, why = self.file.append(lines)
        lost = len(lines) - written
        self.received += len(lines)
        self.dropped += lost
        response = ExportTraceServiceResponse()
        if lost:
            response.partial_success.rejected_spans = lost
            response.partial_success.error_message = why
        await answer(send, 200, response.SerializeToString(), PROTOBUF)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != PROTOBUF:
            raise Refused(415, f"content type {kind.decode('latin-1')!r}; application/x-protobuf is read")
        return await read_body(receive, MAX_BODY, self._count)

    def _count(self, size: int) -> None:
        self.bytes += size


def _parse(body: bytes, headers: dict[bytes, bytes]) -> ExportTraceServiceRequest:
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"gzip":
        body = _gunzip(body)
    elif encoding != b"identity":
        raise Refused(415, f"content encoding {encoding.decode('latin-1')!r}; gzip and none are read")
    try:
        request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise Refused(400, f"not an ExportTraceServiceRequest: {error}") from None
    return request


def _gunzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, MAX_PLAIN)
    except zlib.error as error:
        raise Refused(400, f"not gzip: {error}") from None
    if unpacker.unconsumed_tail:
        raise Refused(413, f"more than {MAX_PLAIN} bytes when unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise Refused(400, "the gzip stream is cut off, or followed by something else")
    return plain


def main(arguments: Sequence[str] | None = None) -> None:
    serve_sink("otlp_sink", "Keeps OTLP spans in a file, one JSON line each.", SpanSink, arguments)


if __name__ == "__main__":
    os.umask(0o022)
    main()
