"""A reply that is read as it comes: its parts, lines and server-sent events, each with the time it arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Protocol

from harness.load.http_body import Decoder, Undecodable
from harness.load.http_connection import Connection
from harness.load.http_pool import NoConnection
from harness.load.reply import parse_head


class Chunk(NamedTuple):
    """after_ns: from what the latency counts from, to the arrival."""

    data: bytes
    after_ns: int


class Line(NamedTuple):
    """One line without its end; after_ns: as of the chunk that ended it."""

    text: str
    after_ns: int


class Event(NamedTuple):
    """One server-sent event; after_ns: as of the chunk that ended it."""

    data: str
    event: str
    id: str
    after_ns: int


class Ended(Protocol):
    """Told once, at the end of the block."""

    def __call__(self, reply: StreamReply, connection: Connection | NoConnection) -> None: ...


class StreamReply:
    """`with client.stream("POST", "/chat", json=...) as reply: for chunk in reply: ...`

    Nothing about the network or the server raises: the loop ends, and `error` says why, as that of a Reply does. What
    is not read when the block ends is read then, so that the latency is that of the whole reply; `cancel`, or an
    exception in the block, ends the connection instead and the request counts as `abandoned`.

    status: 0 without a head; size: bytes of the body so far, as they came; latency_ns: to the last byte, 0 before it.
    """

    def __init__(self, begin: Callable[[], Connection | NoConnection], ended: Ended, since_ns: int, most: int) -> None:
        self._begin, self._ended, self._most = begin, ended, most
        self.since_ns = since_ns
        self._connection: Connection | NoConnection
        self._decoder: Decoder | None = None
        self._cancelled = False
        self._parts: deque[tuple[bytes, int]] = deque()
        self.status, self.size, self.latency_ns = 0, 0, 0
        self.headers: dict[str, str] = {}
        self.error: str | None = None

    def __enter__(self) -> StreamReply:
        connection = self._connection = self._begin()
        self.status, self.error = connection.status, connection.error
        if self.status:
            self.headers = parse_head(connection.head)
            if self.status >= 400:
                self.error = self.error or f"http_{self.status}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._cancelled:
            for _ in self:
                continue
        elif not self._connection.over or self._connection.error is None:
            self._connection.close()
            self.error = "abandoned"
        self._ended(self, self._connection)

    @property
    def ok(self) -> bool:
        """No failure so far, and a status below 400."""
        return self.error is None

    def decode(self) -> StreamReply:
        """From now on chunks are those of the plain body, if the reply says that it is compressed."""
        self._decoder = Decoder(self.headers.get("content-encoding", ""), self._most)
        return self

    def cancel(self) -> None:
        """Read no more: closes the connection when the block ends."""
        self._cancelled = True

    def __iter__(self) -> Iterator[Chunk]:
        connection = self._connection
        if isinstance(connection, NoConnection):
            return
        parts = self._parts  # kept, for the loop over this may end before them
        while parts or self._more(connection):
            data, at_ns = parts.popleft()
            self.size += len(data)
            if self._decoder is not None:
                try:
                    data = self._decoder.feed(data)
                except Undecodable as undecodable:
                    self._spoilt(undecodable)
                    return
            yield Chunk(data, at_ns - self.since_ns)
        if connection.error is not None:
            self.error = connection.error
        elif self._decoder is not None:
            try:
                self._decoder.end()
            except Undecodable as undecodable:
                self._spoilt(undecodable)

    def lines(self) -> Iterator[Line]:
        """The body's lines as UTF-8; one that lacks its end comes last."""
        held = b""
        after_ns = 0
        for chunk in self:
            after_ns = chunk.after_ns
            *whole, held = (held + chunk.data).split(b"\n")
            for line in whole:
                yield Line(line.removesuffix(b"\r").decode(errors="replace"), after_ns)
        if held:
            yield Line(held.decode(errors="replace"), after_ns)

    def events(self) -> Iterator[Event]:
        """Server-sent events with data; one that is not ended by an empty line does not count."""
        data: list[str] = []
        kind, known = "message", ""
        for line in self.lines():
            if not line.text:
                if data:
                    yield Event("\n".join(data), kind, known, line.after_ns)
                data, kind = [], "message"
                continue
            name, _, value = line.text.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                known = value

    def _more(self, connection: Connection) -> bool:
        """Wait for more parts; there are none at the end."""
        self._parts.extend(connection.more())
        return bool(self._parts)

    def _spoilt(self, undecodable: Undecodable) -> None:
        self.error = undecodable.outcome
        self._connection.close()
