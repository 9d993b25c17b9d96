"""HTTP/2 as a client of unary gRPC needs it: one stream at a time on a connection of its own, frames made by hand.

What can be said once is encoded once: the head of a call is a block of constant bytes, and the heads of replies, which
are the same bytes each time, are decoded once. For that to be right nothing may depend on what came before, so the
peer is told that no table is kept between heads (SETTINGS_HEADER_TABLE_SIZE 0).
"""

from __future__ import annotations

import struct
from socket import socket

import hpack

from harness.load.http_connection import Runtime
from harness.load.wire import Wire
from harness.load.wire_client import Written

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
REFUSED_STREAM = 7  # an error code
MAX_FRAME = 16_384  # what a peer may send, and what it takes unless it says more
LARGEST_WINDOW = 2**31 - 1
LAST_STREAM = 2**31 - 1
MOST_HEADERS = 65_536  # bytes of one block
_INITIAL_WINDOW = 65_535
_TABLE_SIZE, _ENABLE_PUSH, _WINDOW_SIZE, _FRAME_SIZE = 1, 2, 4, 5
_REMEMBERED = 256
_PREFIX = struct.Struct(">BHBBI")  # length in two parts, type, flags, stream

Headers = dict[str, str]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame; the payload has at most 2^24 - 1 bytes."""
    size = len(payload)
    return _PREFIX.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def head_block(fields: list[tuple[str, str]]) -> bytes:
    """A header block that stands by itself: nothing of it goes into the peer's table."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(name, value) for name, value in fields])


PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(SETTINGS, 0, 0, struct.pack(">HIHIHI", _TABLE_SIZE, 0, _ENABLE_PUSH, 0, _WINDOW_SIZE, LARGEST_WINDOW))
    + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - _INITIAL_WINDOW))
)
_known: dict[bytes, Headers] = {}  # blocks that stand by themselves, decoded


class Http2Error(Exception):
    """What came breaks the protocol; the message says how."""


class Http2Wire(Wire):
    """After `call`: headers and trailers (lower-case names), body, size (bytes read)."""

    def __init__(self, connected: socket, runtime: Runtime) -> None:
        self.headers: Headers = {}
        self.trailers: Headers = {}
        self.size = 0
        self._chunks: list[bytes] = []
        self._rest = b""
        self._stream = -1
        self._block: bytearray | None = None  # a header block that goes on in the next frame
        self._block_ends = False
        self._decoder = hpack.Decoder()
        self._window = self._stream_start = _INITIAL_WINDOW  # what the peer takes: in all, and of a new stream
        self._stream_window = 0
        self._frame_size = MAX_FRAME
        self._body = memoryview(b"")  # of the request, as far as it is not sent
        self._eaten = 0  # bytes of DATA since the peer was told that there is room
        self._leaving = False
        self._ended: tuple[str | None] | None = None  # how the call ended, while the rest of what came is read
        super().__init__(connected, runtime)
        self._send(PREFACE)

    @property
    def body(self) -> bytes:
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    @property
    def spent(self) -> bool:
        """No other call may follow: the peer says good-bye, or the numbers of streams are used up."""
        return self.over or self._leaving or self._stream + 2 > LAST_STREAM

    def still_open(self) -> bool:
        return not self.spent and super().still_open() and not self.spent

    def call(self, head: bytes, body: bytes, deadline_ns: int, on_written: Written | None) -> str | None:
        """One request with a body, to the end of its reply; returns the kind of error or None."""
        self._stream += 2
        self.headers, self.trailers, self.size = {}, {}, 0
        self._chunks = []
        self._stream_window = self._stream_start
        size = len(body)
        message = frame(HEADERS, END_HEADERS, self._stream, head)
        if size <= self._window and size <= self._stream_window and size <= self._frame_size:
            self._window -= size
            self._stream_window -= size
            self._body = memoryview(b"")
            message += frame(DATA, END_STREAM, self._stream, body)
        else:
            self._body = memoryview(body)
            message += self._next_frames()
        return self.exchange(message, deadline_ns, on_written)

    def _next_frames(self) -> bytes:
        """As much of the body as the peer takes now."""
        frames = b""
        while self._body:
            size = min(len(self._body), self._window, self._stream_window, self._frame_size)
            if size <= 0:
                break
            part, self._body = self._body[:size], self._body[size:]
            self._window -= size
            self._stream_window -= size
            frames += frame(DATA, 0 if self._body else END_STREAM, self._stream, bytes(part))
        return frames

    def _received(self, data: bytes) -> None:
        self.size += len(data)
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        try:
            while end - at >= 9 and not self.over:
                high, low, kind, flags, stream = _PREFIX.unpack_from(data, at)
                size = high << 16 | low
                if size > MAX_FRAME:
                    raise Http2Error(f"a frame of {size} bytes")
                after = at + 9 + size
                if after > end:
                    break
                self._frame(kind, flags, stream & LAST_STREAM, data[at + 9 : after])
                at = after
        except (Http2Error, hpack.HPACKError, UnicodeDecodeError, struct.error):
            self._wrong()
            return
        self._rest = data[at:]
        if self._ended is not None:  # last, for whoever waits goes on at once, and may make the next call
            (error,), self._ended = self._ended, None
            self.finish(error)

    @property
    def _idle(self) -> bool:
        return self._done or self._ended is not None

    def _wrong(self) -> None:
        self.over = True
        self._read.stop()
        self._ended = None
        self.finish("bad_http2")

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and kind != CONTINUATION:
            raise Http2Error("a header block was broken off")
        if kind == DATA:
            self._data(flags, stream, payload)
        elif kind == HEADERS:
            payload = _unpadded(flags, payload)
            self._block = bytearray(payload[5:] if flags & HAS_PRIORITY else payload)
            self._block_ends = bool(flags & END_STREAM)
            if flags & END_HEADERS:
                self._heads(stream)
        elif kind == CONTINUATION:
            if self._block is None or len(self._block) + len(payload) > MOST_HEADERS:
                raise Http2Error("a continuation of nothing, or without end")
            self._block += payload
            if flags & END_HEADERS:
                self._heads(stream)
        elif kind == WINDOW_UPDATE:
            self._widen(stream, *struct.unpack(">I", payload))
        elif kind == SETTINGS:
            self._settings(flags, payload)
        elif kind == PING:
            if len(payload) != 8:
                raise Http2Error("a ping has eight bytes")
            if not flags & ACK:
                self._send(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            self._reset(stream, *struct.unpack(">I", payload))
        elif kind == GOAWAY:
            self._leave(*struct.unpack_from(">II", payload))
        elif kind == PUSH_PROMISE:
            raise Http2Error("a push, which was not asked for")
        # others are to be ignored

    def _heads(self, stream: int) -> None:
        block, self._block = bytes(self._block or b""), None
        fields = self._decode(block)
        if stream != self._stream or self._idle:
            raise Http2Error("a reply that nobody waits for")
        self._begun = True
        if fields.get(":status", "").startswith("1"):
            return  # 100, 103: not the reply
        if not self.headers:
            self.headers = fields
            if self._block_ends:  # a reply of trailers alone
                self.trailers = fields
        elif self._block_ends:
            self.trailers = fields
        else:
            raise Http2Error("a second head")
        if self._block_ends:
            self._end()

    def _decode(self, block: bytes) -> Headers:
        table = self._decoder.header_table.dynamic_entries
        alone = not table
        if alone and (found := _known.get(block)) is not None:
            return found
        fields = {_text(name): _text(value) for name, value in self._decoder.decode(block, raw=True)}
        if alone and not table and len(_known) < _REMEMBERED:
            _known[block] = fields
        return fields

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        if stream != self._stream or self._idle or not self.headers:
            raise Http2Error("data that nobody waits for")
        self._eaten += len(payload)
        if self._eaten > LARGEST_WINDOW // 2:
            self._send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._eaten)))
            self._eaten = 0
        if part := _unpadded(flags, payload):
            self._chunks.append(part)
        if flags & END_STREAM:
            self._end()

    def _end(self) -> None:
        if self._body:  # answered before the request was all sent: the stream stays half open, which we do not keep
            self.over = True
        self._ended = (None,)

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            return
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _WINDOW_SIZE:
                self._stream_window += value - self._stream_start
                self._stream_start = value
            elif name == _FRAME_SIZE:
                if not MAX_FRAME <= value < 2**24:
                    raise Http2Error(f"a frame size of {value}")
                self._frame_size = value
        self._send(frame(SETTINGS, ACK, 0, b"") + self._next_frames())

    def _widen(self, stream: int, more: int) -> None:
        if stream == 0:
            self._window += more
        elif stream == self._stream:
            self._stream_window += more
        if self._body and (frames := self._next_frames()):
            self._send(frames)

    def _reset(self, stream: int, code: int) -> None:
        if stream == self._stream and not self._idle:
            self.over = True
            self._ended = ("refused_stream" if code == REFUSED_STREAM else "reset_stream",)

    def _leave(self, last: int, _code: int) -> None:
        self._leaving = True
        if self._stream > last and not self._idle:
            self.over = True
            self._ended = ("goaway",)


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Error("more padding than there is")
    return payload[1 : len(payload) - payload[0]]


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("latin1")
