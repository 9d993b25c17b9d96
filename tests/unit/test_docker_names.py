"""The name server of the tests' engine knows no name, and says so to each question."""

from __future__ import annotations

from tests.docker.names import answer

QUESTION = b"\x04name\x07example\x00\x00\x01\x00\x01"
EXTRA = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"  # EDNS, as resolvers add it


def test_no_name_is_known() -> None:
    query = b"\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01" + QUESTION + EXTRA
    said = answer(query)
    assert said[:2] == b"\xab\xcd"
    assert said[2] & 0x80 and said[3] & 0x0F == 3  # a response: NXDOMAIN
    assert said[4:12] == b"\x00\x01" + bytes(6) and said[12:] == QUESTION


def test_what_is_no_question_gets_no_answer() -> None:
    whole = b"\xab\xcd\x01\x00\x00\x01" + bytes(6) + QUESTION
    assert all(answer(whole[:length]) == b"" for length in range(len(whole)))
    assert answer(b"\xab\xcd\x01\x00\x00\x02" + bytes(6) + QUESTION * 2) == b""
