"""A sequential client of Redis: commands and pipelines, each a sample with a named outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import socket
from typing import Any
from urllib.parse import unquote, urlsplit

from harness.load.http_connection import Runtime
from harness.load.resp import Argument, ErrorReply, Reader, RespError, encode
from harness.load.sink import Channel, Moment
from harness.load.store_reply import StoreReply
from harness.load.wire import Wire
from harness.load.wire_client import WireClient, Written


class RedisReply(StoreReply):
    """What a command or a pipeline came to.

    value: bytes, int, None or a list, as Redis gives it; of a pipeline a list with one for each command, in which an
    error is an ErrorReply. error: None, or refused | connect_timeout | unreachable | timeout | reset | closed (no byte
    of a reply came) | short_reply | bad_resp | redis_<kind>, where kind is the first word of the server's error in
    lower case, of a pipeline the first error's.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any, error: str | None, detail: str, size: int, latency_ns: int) -> None:
        super().__init__(error, detail, size, latency_ns)
        self.value = value


class RespWire(Wire):
    """A connection that waits for as many replies as there were commands. After `exchange`: replies, size (bytes)."""

    def __init__(self, connected: socket, runtime: Runtime) -> None:
        self.replies: list[Any] = []
        self.size = 0
        self._expected = 0
        self._reader = Reader()
        super().__init__(connected, runtime)

    def commands(self, message: bytes, count: int, deadline_ns: int, on_written: Written | None) -> str | None:
        """Send `count` commands at once and wait for all their replies."""
        self.replies, self.size, self._expected = [], 0, count
        return self.exchange(message, deadline_ns, on_written)

    def _received(self, data: bytes) -> None:
        self._begun = True
        self.size += len(data)
        try:
            self.replies += self._reader.feed(data)
        except RespError:
            self._wrong()
            return
        missing = self._expected - len(self.replies)
        if self._done or missing < 0 or (not missing and not self._reader.in_between):
            self._wrong()  # nobody asked for that
        elif not missing:
            self.finish(None)

    def _wrong(self) -> None:
        self.over = True
        self.finish("bad_resp")


class RedisClient(WireClient[RespWire]):
    """url: redis://[[user]:password@]host[:port][/database]. Raises ValueError for another."""

    def __init__(
        self,
        url: str,
        runtime: Runtime,
        *,
        channel: Callable[[str, str], Channel],
        moment: Callable[[int], Moment],
        timeout: float = 10.0,
    ) -> None:
        parts = urlsplit(url if "//" in url else f"redis://{url}")
        if parts.scheme != "redis" or not parts.hostname:
            raise ValueError(f"{url!r} is not redis://host:port/database")
        super().__init__(parts.hostname, parts.port or 6379, runtime, channel=channel, moment=moment, timeout=timeout)
        self._greeting: list[bytes] = []
        if parts.password:
            user = [unquote(parts.username)] if parts.username else []
            self._greeting.append(encode("AUTH", *user, unquote(parts.password)))
        if database := parts.path.strip("/"):
            if not database.isdigit():
                raise ValueError(f"{url!r}: the database is a number")
            self._greeting.append(encode("SELECT", database))
        self._refusal = ErrorReply("")

    def execute(
        self, *command: Argument, name: str | None = None, timeout: float | None = None, record: bool = True
    ) -> RedisReply:
        """One command and its arguments. name: what it is recorded under (default: the command); timeout: seconds,
        instead of the user's; record: False for what is no part of the load.

        Raises TypeError for what cannot be sent; no failure of the network or the server does.
        """
        name = name or str(command[0]).upper()
        reply = self._commands(encode(*command), 1, name if record else None, timeout)
        if reply.value is not None:
            reply.value = reply.value[0]
        return reply

    def pipeline(
        self, commands: Sequence[Sequence[Argument]], *, name: str = "PIPELINE", timeout: float | None = None
    ) -> RedisReply:
        """All commands in one message, answered in order: one sample. Not a transaction, unless MULTI and EXEC are
        among them. Raises ValueError for none at all."""
        if not commands:
            raise ValueError("a pipeline of no commands")
        return self._commands(b"".join(encode(*one) for one in commands), len(commands), name, timeout)

    def _commands(self, message: bytes, count: int, name: str | None, timeout: float | None) -> RedisReply:
        def send(wire: RespWire, deadline_ns: int, on_written: Written) -> str | None:
            return wire.commands(message, count, deadline_ns, on_written)

        return self._perform("REDIS", name, send, timeout, self._reply)

    def _reply(self, error: str | None, wire: RespWire | None, latency_ns: int) -> RedisReply:
        if error is not None or wire is None:
            detail = self._refusal.text if error == _named(self._refusal) else ""
            return RedisReply(None, error, detail, 0, latency_ns)
        first = next((one for one in wire.replies if isinstance(one, ErrorReply)), None)
        if first is None:
            return RedisReply(wire.replies, None, "", wire.size, latency_ns)
        return RedisReply(wire.replies, _named(first), first.text, wire.size, latency_ns)

    def _open(self, connected: socket) -> RespWire:
        return RespWire(connected, self._runtime)

    def _greet(self, wire: RespWire, deadline_ns: int) -> str | None:
        if not self._greeting:
            return None
        error = wire.commands(b"".join(self._greeting), len(self._greeting), deadline_ns, None)
        for one in wire.replies:
            if error is None and isinstance(one, ErrorReply):
                self._refusal = one
                return _named(one)
        return error


def _named(reply: ErrorReply) -> str:
    return f"redis_{reply.kind}"
