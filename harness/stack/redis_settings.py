"""`python -m harness.stack.redis_settings ADDRESS JSON`: give a Redis its settings back. Standard library only, as a
fault that is undone late is a fault that lasts.

A Redis that is not there has none of them; one that is started again has its own.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Mapping
from io import BufferedRWPair

PATIENCE = 20.0  # seconds
PAUSE = 0.1
WAIT = 1.0  # seconds for one answer


def restore(address: str, settings: Mapping[str, str]) -> str:
    """What is wrong, '' if nothing."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), WAIT) as connection, connection.makefile("rwb") as stream:
            ask(stream, "CONFIG", "SET", *(part for pair in settings.items() for part in pair))
            told = ask(stream, "CONFIG", "GET", *settings)
        found = dict(zip(told[::2], told[1::2], strict=True))
    except ConnectionRefusedError:
        return ""
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return "" if found == settings else f"settings are {found}"


def ask(stream: BufferedRWPair, *words: str) -> list[str]:
    """One command in RESP, and the texts of its answer. Raises OSError, ValueError for an error that it tells."""
    stream.write(b"*%d\r\n" % len(words))
    for word in words:
        stream.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
    stream.flush()
    return _answer(stream)


def _answer(stream: BufferedRWPair) -> list[str]:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the connection ended before its answer")
    kind, text = line[:1], line[1:-2].decode()
    if kind == b"-":
        raise ValueError(text)
    if kind == b"$":
        return [stream.read(int(text) + 2)[:-2].decode()]
    if kind == b"*":
        return [one for _ in range(int(text)) for one in _answer(stream)]
    return [text]


def main() -> int:
    address, settings = sys.argv[1], json.loads(sys.argv[2])
    until = time.monotonic() + PATIENCE
    while wrong := restore(address, settings):
        if time.monotonic() > until:
            sys.stderr.write(f"redis at {address}: {wrong}\n")
            return 1
        time.sleep(PAUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
