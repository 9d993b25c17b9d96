"""A thousand replies that were damaged: each has a name and an end, and the requests around them are untouched."""

from __future__ import annotations

import random
import re
import socket
import struct
from collections import Counter

from harness.load.reply import OUTCOMES
from tests.integration.http_lab import OK, Loop, Tape, hang_up, server

SEED, REPLIES = 20261127, 1000
GOOD = [
    OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + b"y" * 300 + b"\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz",
]


def damage(reply: bytes, chance: random.Random) -> bytes:
    """One or more of: a byte changed, cut off, a piece repeated, put elsewhere or lost, a number that is another."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, to = sorted(chance.randrange(len(reply) + 1) for _ in range(2))
        kind = chance.randrange(7)
        if kind == 0 and reply:
            at = chance.randrange(len(reply))
            reply = reply[:at] + bytes([chance.randrange(256)]) + reply[at + 1 :]
        elif kind == 1:
            reply = reply[:at]
        elif kind == 2:
            reply = reply[:to] + reply[at:]
        elif kind == 3:
            reply = reply[:at] + reply[to:]
        elif kind == 4:
            number = str(chance.choice((0, 1, 4, 99, -1, 10**9, 2**64, "0x5", "")))
            reply = re.sub(rb"\d+", number.encode(), reply, count=chance.randrange(1, 4))
        elif kind == 5:
            reply = reply[:at] + chance.randbytes(chance.randrange(1, 40)) + reply[at:]
        else:
            reply = reply[:at] + reply[:to] + reply[at:]
    return reply


class Damaged:
    """Answers /bad with the next damaged reply, in pieces, and /good with what is right."""

    def __init__(self) -> None:
        self.chance = random.Random(SEED)
        self.served = 0

    def __call__(self, connection: socket.socket, request: bytes) -> None:
        if b"/good" in request:
            connection.sendall(OK)
            return
        self.served += 1
        reply = damage(self.chance.choice(GOOD), self.chance)
        while reply:
            cut = self.chance.choice((1, 7, 40, 10_000))
            connection.sendall(reply[:cut])
            reply = reply[cut:]
        end = self.chance.randrange(4)
        if end == 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        elif end < 3:
            hang_up(connection)


def test_a_thousand_damaged_replies_each_have_a_name() -> None:
    damaged, tape, sound = Damaged(), Tape(), Tape()
    with Loop().running() as loop, server(damaged) as url:
        client = loop.client(url, tape, timeout=0.05, redirects=2, decompress=True)
        witness = loop.client(url, sound)
        for at in range(REPLIES):
            if at % 3:
                reply = client.request(("GET", "POST", "HEAD")[at % 3], "/bad")
                assert reply.ok == (reply.error is None) and (reply.error is None) <= (reply.status > 0)
                reply.headers  # noqa: B018 - whatever they are, they are taken apart
            else:
                with client.stream("POST", "/bad") as stream:
                    for _ in stream.events():
                        continue
            if at % 10 == 0:
                assert witness.get("/good").body == b"hello"
        client.close()
        witness.close()
        assert not loop.runtime.connections
    outcomes = Counter(tape.outcomes)
    assert sum(outcomes.values()) == REPLIES and set(sound.outcomes) == {"ok"}
    unnamed = {name for name in outcomes if name not in ("ok", *OUTCOMES) and not re.fullmatch(r"http_\d{3,}", name)}
    assert not unnamed, outcomes
    assert {"ok", "bad_http", "short_body", "reset", "timeout", "closed"} <= set(outcomes), outcomes
    assert tape.sends == REPLIES  # some of them to a server that had just gone, which read them no more
    assert REPLIES - tape.repeats <= damaged.served <= REPLIES + tape.repeats
