"""The program that gives a Redis its settings back, against a socket that answers as told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.stack.redis_settings import restore

WANTED = {"maxmemory": "0", "maxmemory-policy": "noeviction"}
GOT = b"*4\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n"


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Takes one connection and answers each thing that it reads with the next of these, then hangs up."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    heard.append(connection.recv(1 << 16))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", heard
        thread.join()


def test_it_sets_all_and_reads_them_back() -> None:
    with server(b"+OK\r\n", GOT) as (address, heard):
        assert restore(address, WANTED) == ""
    assert heard[0] == (
        b"*6\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"
        b"$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n"
    )


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((b"-BUSY Redis is busy running a script\r\n",), "BUSY"),
        ((b"+OK\r\n", GOT.replace(b"$1\r\n0", b"$1\r\n7")), "settings are"),
        ((b"+OK\r\n", GOT[:-30]), ""),
        ((b"+O",), "the connection ended"),
        ((b"",), "the connection ended"),
        ((b"+OK\r\n", b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"), ""),
    ],
)
def test_what_did_not_work_is_told_so_that_it_is_tried_again(answers: tuple[bytes, ...], said: str) -> None:
    with server(*answers) as (address, _):
        told = restore(address, WANTED)
    assert told and said in told


def test_a_redis_that_is_gone_has_no_settings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert restore(address, WANTED) == ""
