"""Requests as bytes, and replies taken apart."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from harness.load.http_message import Encoder, Target
from harness.load.reply import Reply, parse_head


def encode(
    method: str, path: str, url: str = "http://h:81", *, json: Any = None, data: Any = None, headers: Any = None
) -> bytes:
    return Encoder(Target(url), trace=False).head(method, path, headers).message(json, data)


def test_a_post_carries_its_json_and_its_length() -> None:
    message = encode("POST", "/search?x=1", json={"v": np.arange(3)})
    head, _, body = message.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /search?x=1 HTTP/1.1\r\nHost: h:81\r\n")
    assert b"Content-Type: application/json" in head and b"Content-Length: 13" in head
    assert body == b'{"v":[0,1,2]}'


@pytest.mark.parametrize(
    ("method", "given", "length"),
    [("GET", {}, None), ("HEAD", {}, None), ("DELETE", {}, None), ("POST", {}, b"0"), ("PUT", {"data": "é"}, b"2")],
)
def test_a_length_is_sent_where_a_body_is_due(method: str, given: dict[str, Any], length: bytes | None) -> None:
    found = re.search(rb"Content-Length: (\d+)\r\n", encode(method, "/", **given))
    assert (found and found[1]) == length


def test_the_base_url_is_kept_and_odd_characters_are_quoted() -> None:
    assert encode("GET", "/a b/ü?q=%20&r=a+b", "http://[::1]:9/base/").startswith(
        b"GET /base/a%20b/%C3%BC?q=%20&r=a+b HTTP/1.1\r\nHost: [::1]:9\r\n"
    )


def test_requests_of_one_trace_share_its_id_and_others_have_their_own() -> None:
    encoder = Encoder(Target("http://h"), trace=True)

    def sent() -> tuple[bytes, bytes]:
        (found,) = re.findall(
            rb"traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-01\r\n", encoder.head("GET", "/").message()
        )
        return found

    alone = [sent() for _ in range(3)]
    with encoder.one_trace() as trace_id:
        together = [sent() for _ in range(3)]
        with encoder.one_trace() as inner:
            assert inner == trace_id
        together.append(sent())
    assert {trace for trace, _ in together} == {trace_id.encode()}
    assert len({span for _, span in alone + together}) == 7
    assert len({trace for trace, _ in [*alone, *together, sent()]}) == 5


def test_a_header_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="line break"):
        encode("GET", "/", headers={"A": "b\r\nC: d"})
    with pytest.raises(ValueError, match="begins with /"):
        encode("GET", "x")
    assert encode("GET", "/ HTTP/1.1\r\nX: y").count(b"\r\n") == encode("GET", "/").count(b"\r\n")


def test_a_content_type_of_ones_own_stays_alone() -> None:
    message = encode("POST", "/", json={}, headers={"content-type": "application/x"})
    assert message.lower().count(b"content-type") == 1


def test_each_request_has_a_trace_of_its_own() -> None:
    encoder = Encoder(Target("http://h"), trace=True)
    head = encoder.head("GET", "/")
    messages = [head.message() for _ in range(150)]
    found = [re.search(rb"traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-01\r\n", message) for message in messages]
    assert len({match[1] for match in found if match}) == 150


@pytest.mark.parametrize("url", ["", "http://", "https://", "ftp://h/x"])
def test_what_is_no_target_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"only http|names no host"):
        Target(url)


def test_a_url_has_the_port_of_its_protocol() -> None:
    assert Target("https://h/x").origin == ("https", "h", 443) and Target("h").origin == ("http", "h", 80)
    assert Target("https://u:p@h:9/b/").netloc == "h:9"


def test_what_stays_the_same_is_given_once() -> None:
    head = Encoder(Target("http://h"), trace=True).head("POST", "/x", {"A": "b"}, {"k": 1})
    first, second = head.message(), head.message()
    assert first.endswith(b"Content-Type: application/json\r\ntraceparent" + first.partition(b"traceparent")[2])
    assert first.endswith(b'Content-Length: 7\r\n\r\n{"k":1}') and first != second
    assert head.message({"k": 22}).endswith(b'Content-Length: 8\r\n\r\n{"k":22}')
    assert head.message(data=b"x").endswith(b"Content-Length: 1\r\n\r\nx") and b"json" not in head.message(data=b"x")


def test_headers_are_those_of_the_final_reply() -> None:
    raw = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nX-One: 1\r\nSet-Cookie: a\r\nset-cookie: b\r\nLong: first\r\n  second\r\n\r\nbody: no"
    )
    assert parse_head(raw) == {"x-one": "1", "set-cookie": "a, b", "long": "first second"}


def test_a_reply_is_ok_only_without_an_error() -> None:
    good = Reply(200, b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", b'{"x": 1}', None, 5)
    assert good.ok and good.json() == {"x": 1} and good.headers == {"a": "b"}
    bad = Reply(503, b"HTTP/1.1 503 Busy\r\n\r\n", b"", "http_503", 5)
    assert not bad.ok and bad.headers == {}
    with pytest.raises(ValueError, match=r"."):
        bad.json()
