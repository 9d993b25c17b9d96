"""A name server that knows no name: `python -m tests.docker.names ADDRESS` answers each question with NXDOMAIN.

An engine asks a name server about whatever its containers are not called. There is none to be reached from ours, and an
engine that gets no answer gives none: a container that asks for one that has been stopped would wait 40 s.
"""

from __future__ import annotations

import socket
import sys

PORT = 53
_HEADER = 12
_ANSWER_NXDOMAIN = b"\x81\x83"  # a response, recursion desired and available, name error (RFC 1035, 4.1.1)


def answer(question: bytes) -> bytes:
    """NXDOMAIN to a query of one question, which is repeated (RFC 1035, 4.1); b"" to what is none."""
    if len(question) < _HEADER or question[4:6] != b"\x00\x01":
        return b""
    end = _HEADER
    while end < len(question) and question[end]:
        end += 1 + question[end]
    end += 5  # the root label, type and class
    if end > len(question):
        return b""
    return question[:2] + _ANSWER_NXDOMAIN + b"\x00\x01" + bytes(6) + question[_HEADER:end]


def main(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, PORT))
        while True:
            question, asker = server.recvfrom(4096)
            if reply := answer(question):
                server.sendto(reply, asker)


if __name__ == "__main__":
    main(sys.argv[1])
