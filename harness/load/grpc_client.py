"""A sequential client of unary gRPC: request bytes out, reply bytes in, each call a sample with a named outcome."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from harness.load.http2 import Http2Wire, head_block
from harness.load.http_connection import Runtime
from harness.load.sink import Channel, Moment
from harness.load.store_reply import StoreReply
from harness.load.wire_client import WireClient, Written

CODES = (
    "ok", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
    "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented",
    "internal", "unavailable", "data_loss", "unauthenticated",
)  # fmt: skip
R = TypeVar("R", bound="GrpcReply")


class GrpcReply(StoreReply):
    """What a call came to.

    error: None, or refused | connect_timeout | unreachable | timeout | reset | closed (no byte of a reply came)
    | short_reply | bad_http2 | goaway | refused_stream | reset_stream | http_<status> | bad_grpc (neither a status nor
    one whole message) | grpc_<code>; body: the reply's message, empty without one.
    """

    __slots__ = ("body",)

    def __init__(self, body: bytes, error: str | None, detail: str, size: int, latency_ns: int) -> None:
        super().__init__(error, detail, size, latency_ns)
        self.body = body


class GrpcClient(WireClient[Http2Wire]):
    """host: http://host:port or host:port; metadata: sent with each call. Raises ValueError for another host."""

    def __init__(
        self,
        host: str,
        runtime: Runtime,
        *,
        channel: Callable[[str, str], Channel],
        moment: Callable[[int], Moment],
        timeout: float = 10.0,
        metadata: dict[str, str] | None = None,
    ) -> None:
        parts = urlsplit(host if "//" in host else f"http://{host}")
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"{host!r} is not http://host:port")
        super().__init__(parts.hostname, parts.port, runtime, channel=channel, moment=moment, timeout=timeout)
        self._authority = parts.netloc.rpartition("@")[2]
        self._metadata = metadata or {}
        self._heads: dict[str, bytes] = {}

    def call(self, path: str, message: bytes, *, name: str | None, timeout: float | None = None) -> GrpcReply:
        """One call. path: /package.Service/Method; name: what it is recorded under, None records nothing; timeout:
        seconds, instead of the user's. No failure of the network or the server raises."""
        return self._call(path, message, name, timeout, GrpcReply)

    def _call(
        self,
        path: str,
        message: bytes,
        name: str | None,
        timeout: float | None,
        make: Callable[[bytes, str | None, str, int, int], R],
    ) -> R:
        head = self._heads.get(path) or self._head(path)
        body = b"\0" + len(message).to_bytes(4, "big") + message

        def send(wire: Http2Wire, deadline_ns: int, on_written: Written) -> str | None:
            return wire.call(head, body, deadline_ns, on_written)

        def reply(error: str | None, wire: Http2Wire | None, latency_ns: int) -> R:
            if error is not None or wire is None:
                return make(b"", error, "", 0, latency_ns)
            error, detail, found = _read(wire)
            return make(found, error, detail, wire.size, latency_ns)

        return self._perform("GRPC", name, send, timeout, reply)

    def _head(self, path: str) -> bytes:
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", self._authority)]
        fields += [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "slo-harness")]
        block = head_block([*fields, *self._metadata.items()])
        self._heads[path] = block
        return block

    def _open(self, connected: socket) -> Http2Wire:
        return Http2Wire(connected, self._runtime)


def _read(wire: Http2Wire) -> tuple[str | None, str, bytes]:
    """(error, the server's words, message) of a call that was answered to its end."""
    status = wire.headers.get(":status")
    code = wire.trailers.get("grpc-status", "")
    if code == "0" and status == "200":
        body = wire.body
        if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
            return "bad_grpc", "neither nothing nor one whole message, uncompressed", b""
        return None, "", body[5:]
    detail = unquote(wire.trailers.get("grpc-message", ""))
    if code.isdigit() and code != "0":
        number = int(code[:4])
        return f"grpc_{CODES[number] if number < len(CODES) else 'other'}", detail, b""
    if status is None or not status.isdigit() or len(status) != 3:
        return "bad_http2", "", b""
    return ("bad_grpc" if status == "200" else f"http_{status}"), detail, b""
