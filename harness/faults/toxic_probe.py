"""What shows on a connection to whatever is behind a toxiproxy: questions that its protocol answers and that change
nothing. They take the way of every client; toxiproxy has no echo."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress

WAIT = 1.0  # seconds in which a service that is there has answered
SILENCE = 0.5  # seconds of silence that count as none
LONG = 2.0  # seconds; a longer delay is not waited for
# Redis answers PONG, HTTP 400; PostgreSQL whether it has TLS; gRPC its settings. Each is one only some of them know.
QUESTIONS = (b"PING\r\n\r\n", struct.pack("!ii", 8, 80877103), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")


class Service:
    """address: host:port on which toxiproxy listens for it. Made before there is a fault: it tries the questions."""

    def __init__(self, address: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        self._where = ("127.0.0.1" if host in ("", "0.0.0.0", "::") else host, int(port))
        self._question = next((one for one in QUESTIONS if self._asked(one, WAIT) == "answer"), None)
        self.took = 0.0
        if self._question is not None:
            began = time.monotonic()
            self._asked(self._question, WAIT)
            self.took = time.monotonic() - began

    def effect(self, kind: str, least: float, most: float) -> str | None:
        """What shows of a toxic of that type; None when it should show and does not."""
        if self._question is None:
            return "what is behind it answers no question of ours, so that nothing more can be seen"
        began = time.monotonic()
        match kind:
            case "latency":
                wait = most + WAIT if most <= LONG else min(least, SILENCE)
                told = self._asked(self._question, wait)
                took = time.monotonic() - began
                if most > LONG:
                    return f"no answer came within {wait:.1f} s" if told == "silence" else None
                return f"an answer took {took * 1e3:.1f} ms" if told == "answer" and took >= least else None
            case "timeout":
                wait = SILENCE + 10 * self.took
                told = self._asked(self._question, wait)
                return f"no answer came within {wait:.1f} s" if told == "silence" else None
            case "reset_peer":
                return "a first byte got RST" if self._asked(self._question, WAIT) == "reset" else None
            case _:
                return "no question of a few bytes shows more of it"

    def is_clear(self) -> bool:
        return self._question is None or self._asked(self._question, WAIT) == "answer"

    @property
    def calm(self) -> str:
        return "what is behind it answers" if self._question is not None else "nothing more can be seen"

    def _asked(self, question: bytes, wait: float) -> str:
        """answer | silence | end | reset | refused."""
        try:
            connection = socket.create_connection(self._where, WAIT)
        except OSError:
            return "refused"
        with connection:
            connection.settimeout(wait)
            try:
                connection.sendall(question)
                return "answer" if connection.recv(1) else "end"
            except TimeoutError:
                return "silence"
            except OSError:
                return "reset"
            finally:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
