"""Redis' protocol: commands as bytes, replies out of any pieces."""

from __future__ import annotations

import random
from typing import Any

import pytest

from harness.load.resp import ErrorReply, Reader, RespError, encode

REPLIES = b"+OK\r\n:-42\r\n$5\r\na\r\nbc\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n*2\r\n*2\r\n:1\r\n+x\r\n-ERR no\r\n"
VALUES = [b"OK", -42, b"a\r\nbc", None, None, [], b"", [[1, b"x"], "-ERR no"]]


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(one) for one in value]
    return f"-{value.text}" if isinstance(value, ErrorReply) else value


def test_a_command_is_an_array_of_strings() -> None:
    assert encode("SET", b"a\0", 7, 1.5) == b"*4\r\n$3\r\nSET\r\n$2\r\na\0\r\n$1\r\n7\r\n$3\r\n1.5\r\n"
    assert encode("GET", "ü") == b"*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xbc\r\n"


@pytest.mark.parametrize("wrong", [None, True, ["a"]])
def test_what_is_no_argument_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="cannot be an argument"):
        encode("SET", wrong)


@pytest.mark.parametrize("seed", range(20))
def test_replies_are_the_same_however_they_are_cut(seed: int) -> None:
    cut = random.Random(seed)
    reader, found, at = Reader(), [], 0
    while at < len(REPLIES):
        size = cut.choice((1, 2, 3, 7, 50))
        found += reader.feed(REPLIES[at : at + size])
        at += size
    assert [plain(one) for one in found] == VALUES and reader.in_between


def test_a_long_string_is_put_together_once() -> None:
    """A reader that joined what it has at every piece would move 50 GB here."""
    reader = Reader()
    assert reader.feed(b"$100000000\r\n") == []
    piece = b"x" * 100_000
    for _ in range(1000):
        assert reader.feed(piece) == []
    (value,) = reader.feed(b"\r\n")
    assert len(value) == 100_000_000


@pytest.mark.parametrize(
    "wrong", [b"x\r\n", b":1.5\r\n", b":\r\n", b"$-2x\r\n", b"$3\r\nabcd\r\n", b"*1\r\n" * 40, b"$600000000\r\n",
              b"*99999999\r\n", b"+" + b"a" * 70_000, b":" + b"1" * 30 + b"\r\n"]
)  # fmt: skip
def test_what_is_not_the_protocol_is_said(wrong: bytes) -> None:
    with pytest.raises(RespError):
        Reader().feed(wrong)


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_replies_or_an_error(seed: int) -> None:
    noise = random.Random(seed)
    for _ in range(200):
        reader = Reader()
        data = bytearray(REPLIES)
        for _ in range(noise.randrange(1, 4)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        try:
            for at in range(0, len(data), 5):
                reader.feed(bytes(data[at : at + 5]))
        except RespError:
            continue


@pytest.mark.parametrize(("text", "kind"), [("OOM no", "oom"), ("WRONGTYPE x", "wrongtype"), ("é x", "other"),
                                            ("x" * 200, "other"), ("", "other")])  # fmt: skip
def test_an_error_has_a_kind_that_can_be_a_name(text: str, kind: str) -> None:
    assert ErrorReply(text).kind == kind
