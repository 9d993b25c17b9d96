"""Servers of three protocols that misbehave on request, for the tests of the clients: half replies, wrong frames,
resets, silence.

    python -m tests.integration.rude_server        says its ports as JSON on standard output, ends with standard input

What a client asks for names the case: the command of Redis, the path of gRPC, the database of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import hpack

RESET, CLOSE, STAY = "reset", "close", "stay"
Script = tuple[list[bytes], str]  # what is written, in pieces, and what becomes of the connection

REDIS: dict[str, Script] = {
    "OK": ([b"+OK\r\n"], STAY),
    "PIECES": ([bytes([one]) for one in b"*2\r\n$3\r\nabc\r\n:-7\r\n"], STAY),
    "ERROR": ([b"-OOM command not allowed\r\n"], STAY),
    "ODD-ERROR": ([b"-" + b"\xff" * 500 + b" x\r\n"], STAY),
    "HALF": ([b"$10\r\nabc"], CLOSE),
    "HALF-RESET": ([b"$10\r\nabc"], RESET),
    "NOTHING": ([], CLOSE),
    "RESET": ([], RESET),
    "HANG": ([], STAY),
    "HALF-HANG": ([b"*2\r\n+a\r\n"], STAY),
    "GARBAGE": ([b"HTTP/1.1 200 OK\r\n\r\n"], STAY),
    "TWO": ([b"+OK\r\n+OK\r\n"], STAY),
    "AND-MORE": ([b"+OK\r\n$5\r\nab"], STAY),
    "TOO-LONG": ([b"$99999999999\r\n"], STAY),
    "LONGER": ([b"$3\r\nabcdef\r\n"], STAY),
    "DEEP": ([b"*1\r\n" * 100], STAY),
    "NO-NUMBER": ([b":12x\r\n"], STAY),
    "NO-END": ([b"+" + b"x" * 100_000], STAY),
}


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def block(*fields: tuple[str, str]) -> bytes:
    return hpack.Encoder().encode(list(fields))


HEAD = frame(1, 4, 1, block((":status", "200"), ("content-type", "application/grpc")))
MESSAGE = b"\0\0\0\0\x05hello"
BODY = frame(0, 0, 1, MESSAGE)
WELL = frame(1, 5, 1, block(("grpc-status", "0")))


def failed(code: str) -> bytes:
    return frame(1, 5, 1, block(("grpc-status", code), ("grpc-message", "so%20there")))


GRPC: dict[str, Script] = {
    "ok": ([HEAD + BODY + WELL], STAY),
    "pieces": ([bytes([one]) for one in HEAD + BODY + WELL], STAY),
    "padded": ([frame(1, 4 | 8, 1, b"\x03" + block((":status", "200")) + b"\0\0\0")
                + frame(0, 8, 1, b"\x02" + MESSAGE + b"\0\0") + WELL], STAY),
    "continued": ([frame(1, 0, 1, block((":status", "200"))[:1]) + frame(9, 4, 1, block((":status", "200"))[1:])
                   + BODY + WELL], STAY),
    "unknown-frame": ([frame(0xBE, 0, 1, b"what") + HEAD + BODY + frame(6, 0, 0, b"12345678") + WELL], STAY),
    "hints": ([frame(1, 4, 1, block((":status", "103"))) + HEAD + BODY + WELL], STAY),
    "code-5": ([HEAD + failed("5")], STAY),
    "code-14-alone": ([frame(1, 5, 1, block((":status", "200"), ("grpc-status", "14")))], STAY),
    "code-99": ([HEAD + failed("99")], STAY),
    "status-503": ([frame(1, 4, 1, block((":status", "503"))) + frame(0, 1, 1, b"busy")], STAY),
    "no-status": ([HEAD + frame(0, 1, 1, MESSAGE)], STAY),
    "no-message": ([HEAD + WELL], STAY),
    "half-message": ([HEAD + frame(0, 0, 1, MESSAGE[:8]) + WELL], STAY),
    "two-messages": ([HEAD + frame(0, 0, 1, MESSAGE * 2) + WELL], STAY),
    "compressed": ([HEAD + frame(0, 0, 1, b"\1" + MESSAGE[1:]) + WELL], STAY),
    "half": ([HEAD + BODY[:5]], CLOSE),
    "half-reset": ([HEAD + BODY[:5]], RESET),
    "nothing": ([], CLOSE),
    "reset": ([], RESET),
    "hang": ([], STAY),
    "half-hang": ([HEAD + BODY], STAY),
    "reset-stream": ([HEAD + frame(3, 0, 1, b"\0\0\0\x02")], STAY),
    "refused-stream": ([frame(3, 0, 1, b"\0\0\0\x07")], STAY),
    "goaway": ([frame(7, 0, 0, b"\0" * 8) + HEAD + BODY + WELL], STAY),
    "goaway-after": ([frame(7, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0") + HEAD + BODY + WELL], STAY),
    "garbage": ([b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"], STAY),
    "large-frame": ([b"\xff\xff\xff\0\0\0\0\0\x01"], STAY),
    "bad-head": ([frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff\xff")], STAY),
    "bad-padding": ([HEAD + frame(0, 8, 1, b"\xff" + MESSAGE)], STAY),
    "broken-off": ([frame(1, 0, 1, b"\x88") + BODY], STAY),
    "no-head": ([BODY + WELL], STAY),
    "other-stream": ([frame(1, 4, 7, block((":status", "200")))], STAY),
    "push": ([frame(5, 4, 1, b"\0\0\0\x02\x88")], STAY),
    "short-window": ([frame(8, 0, 1, b"\0")], STAY),
    "short-ping": ([frame(6, 0, 0, b"1")], STAY),
    "short-goaway": ([frame(7, 0, 0, b"1")], STAY),
    "unasked": ([HEAD + BODY + WELL + HEAD], STAY),
}  # fmt: skip


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack(">I", len(payload) + 4) + payload


IDLE = message(b"Z", b"I")
SETTINGS = {b"client_encoding": b"UTF8", b"DateStyle": b"ISO, MDY", b"server_version": b"15.0",
            b"standard_conforming_strings": b"on", b"integer_datetimes": b"on"}  # fmt: skip
READY = message(b"R", b"\0\0\0\0") + b"".join(message(b"S", b"%b\0%b\0" % one) for one in SETTINGS.items()) + IDLE


def sql_error(severity: bytes, code: bytes) -> bytes:
    return message(b"E", b"S%b\0V%b\0C%b\0Mso there\0\0" % (severity, severity, code))


COLUMN = message(b"T", b"\0\x01a\0" + struct.pack(">IhIhih", 0, 0, 23, 4, -1, 0))
ROW = message(b"D", b"\0\x01\0\0\0\x017")
DONE = message(b"C", b"SELECT 1\0") + IDLE

POSTGRES: dict[str, Script] = {  # after the greeting, in answer to the first statement
    "ok": ([COLUMN + ROW + DONE], STAY),
    "pieces": ([bytes([one]) for one in COLUMN + ROW + DONE], STAY),
    "deadlock": ([sql_error(b"ERROR", b"40P01") + IDLE], STAY),
    "odd-code": ([sql_error(b"ERROR", b"ZZ999") + IDLE], STAY),
    "shut-down": ([sql_error(b"FATAL", b"57P01")], CLOSE),
    "half": ([COLUMN + ROW[:7]], CLOSE),
    "half-reset": ([COLUMN + ROW[:7]], RESET),
    "nothing": ([], CLOSE),
    "reset": ([], RESET),
    "hang": ([], STAY),
    "half-hang": ([COLUMN + ROW], STAY),
    "garbage": ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], STAY),
    "short-row-hang": ([COLUMN + message(b"D", b"\0\x09\0\0")], STAY),
}
GREETINGS: dict[str, Script] = {  # in answer to the start of a session
    "greet-nothing": ([], CLOSE),
    "greet-reset": ([], RESET),
    "greet-hang": ([], STAY),
    "greet-half-hang": ([READY[:12]], STAY),
    "greet-garbage": ([b"220 ESMTP ready\r\n"], STAY),
    "greet-full": ([sql_error(b"FATAL", b"53300")], CLOSE),
}


async def play(writer: asyncio.StreamWriter, script: Script) -> bool:
    """Returns whether the connection stays."""
    pieces, end = script
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        if len(pieces) > 1:
            await asyncio.sleep(0)
    if end == RESET:
        linger = struct.pack("ii", 1, 0)
        await asyncio.sleep(0.02)  # what was written arrives before the reset does away with it
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    return end == STAY


async def redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        count = int((await reader.readline())[1:])
        words = []
        for _ in range(count):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        if not await play(writer, REDIS[words[0].decode()]):
            return


async def grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(24)
    writer.write(frame(4, 0, 0, b"\0\x04\0\0\x40\0"))  # 16 kB of a stream's window
    decoder, case, stream = hpack.Decoder(), "", 0
    while True:
        size = int.from_bytes(await reader.readexactly(3), "big")
        kind, flags = await reader.readexactly(2)
        stream = int.from_bytes(await reader.readexactly(4), "big") or stream
        payload = await reader.readexactly(size)
        if kind == 1:
            case = str(dict(decoder.decode(payload))[":path"]).strip("/")
        if kind == 0 and size:  # what was taken may come again
            for number in (0, stream):
                writer.write(frame(8, 0, number, size.to_bytes(4, "big")))
        if kind == 0 and flags & 1:
            pieces, end = GRPC[case]
            if stream != 1:
                whole = renumbered(b"".join(pieces), stream)
                pieces = [whole] if len(pieces) == 1 else [bytes([one]) for one in whole]
            if not await play(writer, (pieces, end)):
                return


def renumbered(frames: bytes, stream: int) -> bytes:
    """The same frames on another stream; for what is whole frames."""
    found = b""
    while frames:
        size = int.from_bytes(frames[:3], "big")
        own = frames[5:9] if frames[5:9] != b"\0\0\0\x01" else stream.to_bytes(4, "big")
        found += frames[:5] + own + frames[9 : 9 + size]
        frames = frames[9 + size :]
    return found


async def postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        size = int.from_bytes(await reader.readexactly(4), "big")
        start = await reader.readexactly(size - 4)
        if start[:4] not in (struct.pack(">I", 80877103), struct.pack(">I", 80877104)):
            break
        writer.write(b"N")  # neither TLS nor GSSAPI
    words = start[4:].split(b"\0")
    case = dict(zip(words[::2], words[1::2], strict=False))[b"database"].decode()
    if case in GREETINGS:
        if await play(writer, GREETINGS[case]):
            await reader.read()
        return
    writer.write(READY)
    while True:
        await reader.readexactly(1)
        size = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(size - 4)
        if not await play(writer, POSTGRES[case]):
            return


def handler(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            return
        finally:
            writer.close()

    return handle


async def main() -> None:
    ports = {}
    for serve in (redis, grpc, postgres):
        server = await asyncio.start_server(handler(serve), "127.0.0.1", 0, backlog=1024)
        ports[serve.__name__] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def rude_server() -> Iterator[dict[str, int]]:
    """Protocol -> port, as long as the block lasts."""
    command = [sys.executable, "-m", "tests.integration.rude_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found: dict[str, int] = json.loads(process.stdout.readline())
            yield found
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main())
