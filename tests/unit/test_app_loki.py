"""Log shipping against a peer that takes, refuses, fails, hangs, hangs up or is not there."""

from __future__ import annotations

import json
import os
import queue
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.shared.environment import Telemetry
from app.shared.log_metrics import REASONS, LogMetrics
from app.shared.logs import LogWriter, make_logger
from app.shared.loki import BATCH_LINES, PUSH_PATH, Line, LokiPusher, payload

NEVER = 1e-6  # a time scale with which no batch is ever old enough
AT_ONCE = 1e6  # one with which every batch is
PATIENCE = 30  # seconds after which a test that waits for the pusher gives up


class Peer:
    """Answers each push with the next of `answers`, the last of them for ever.

    A number is a status, "hang" never answers, "hang up" closes the connection. `pushes` are the streams received.
    """

    def __init__(self, *answers: int | str) -> None:
        self.pushes: queue.Queue[list[dict[str, Any]]] = queue.Queue()
        self.headers: list[Any] = []
        self._answers = list(answers)
        self._end = Event()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == PUSH_PATH
                peer.headers.append(self.headers)
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = peer._answers.pop(0) if len(peer._answers) > 1 else peer._answers[0]
                peer.pushes.put(json.loads(body)["streams"])
                if answer == "hang":
                    peer._end.wait()
                if isinstance(answer, str):
                    self.close_connection = True
                    return
                self.send_response(answer)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def lines(self) -> int:
        """Of the next push; waits for it."""
        return sum(len(stream["values"]) for stream in self.pushes.get(timeout=PATIENCE))

    def close(self) -> None:
        self._end.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    started: list[Peer] = []
    yield started
    for peer in started:
        peer.close()


class Shipping:
    """A pusher and its counters."""

    def __init__(self, url: str, time_scale: float = NEVER, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.pusher = LokiPusher(url, "service", LogMetrics(self.registry), time_scale, **options)

    def put(self, count: int, text: bytes = b"{}") -> None:
        for number in range(count):
            self.pusher.put(Line(number, "INFO", "part", text))

    def counters(self) -> dict[str, float]:
        """What is not 0, once the pusher has ended."""
        self.pusher.close(PATIENCE)
        value = self.registry.get_sample_value
        found = {reason: value("log_lines_dropped_total", {"reason": reason}) for reason in REASONS}
        found |= {"pushed": value("log_lines_pushed_total"), "retries": value("log_push_retries_total")}
        assert None not in found.values()
        return {name: number for name, number in found.items() if number}


def test_a_batch_holds_a_stream_for_each_component_and_level_ordered_by_time() -> None:
    lines = [
        Line(3, "INFO", "search", b'{"n":"\xc3\xa9"}'),
        Line(1, "INFO", "search", b'{"n":1}'),
        Line(2, "ERROR", "search", b'{"n":2}'),
        Line(5, "INFO", "feedback", b'{"n":5}'),
    ]
    streams = json.loads(payload("svc", lines))["streams"]
    assert {tuple(one["stream"].values()): one["values"] for one in streams} == {
        ("svc", "search", "INFO"): [["1", '{"n":1}'], ["3", '{"n":"é"}']],
        ("svc", "search", "ERROR"): [["2", '{"n":2}']],
        ("svc", "feedback", "INFO"): [["5", '{"n":5}']],
    }
    assert all(list(one["stream"]) == ["service", "component", "level"] for one in streams)


def test_a_line_of_a_logger_arrives_with_its_own_time(peers: list[Peer], tmp_path: Path) -> None:
    peers.append(peer := Peer(204))
    registry = CollectorRegistry()
    telemetry = Telemetry(loki=peer.url, log_file=tmp_path / "log.jsonl", time_scale=AT_ONCE)
    before = time.time_ns()
    writer = LogWriter.open(telemetry, "svc", registry)
    make_logger(writer, "part").warning("event", answer=42)
    (stream,) = peer.pushes.get(timeout=PATIENCE)
    writer.close(PATIENCE)
    ((at, text),) = stream["values"]
    assert stream["stream"] == {"service": "svc", "component": "part", "level": "WARNING"}
    assert before <= int(at) <= time.time_ns()
    assert text + "\n" == (tmp_path / "log.jsonl").read_text()
    line = json.loads(text)
    assert (line["event"], line["answer"], line["level"]) == ("event", 42, "WARNING")
    milliseconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(at) // 10**9)) + f".{int(at) // 10**6 % 1000:03}Z"
    assert line["timestamp"] == milliseconds
    assert peer.headers[0]["content-type"] == "application/json"
    assert registry.get_sample_value("log_lines_pushed_total") == 1


def test_a_batch_leaves_when_it_is_full_by_count_by_bytes_or_by_age(peers: list[Peer]) -> None:
    peers.append(peer := Peer(204))
    shipping = Shipping(peer.url)
    shipping.put(BATCH_LINES + 1)
    assert peer.lines() == BATCH_LINES
    assert shipping.counters() == {"pushed": BATCH_LINES + 1}  # the end sends what is left
    assert peer.lines() == 1
    large = Shipping(peer.url)
    large.put(3, b"x" * 300_000)
    assert peer.lines() == 2
    assert large.counters() == {"pushed": 3}
    assert peer.lines() == 1
    quick = Shipping(peer.url, AT_ONCE)
    quick.put(1)
    assert peer.lines() == 1
    assert quick.counters() == {"pushed": 1}


@pytest.mark.parametrize("first", [429, 500, 503, "hang up", "hang"])
def test_what_may_help_is_tried_once_more_and_counted(peers: list[Peer], first: int | str) -> None:
    peers.append(peer := Peer(first, 204))
    shipping = Shipping(peer.url, timeout=0.3)
    shipping.put(3)
    assert shipping.counters() == {"pushed": 3, "retries": 1}
    assert peer.pushes.get(timeout=PATIENCE) == peer.pushes.get(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("answer", "reason"), [(429, "refused"), (500, "refused"), ("hang up", "unreachable"), ("hang", "unreachable")]
)
def test_after_the_retry_the_lines_are_lost_and_counted_and_the_next_batch_is_tried(
    peers: list[Peer], answer: int | str, reason: str
) -> None:
    peers.append(peer := Peer(answer, answer, 204))
    shipping = Shipping(peer.url, AT_ONCE, timeout=0.3)
    shipping.put(1)
    assert [peer.lines(), peer.lines()] == [1, 1]
    shipping.put(1)
    assert peer.lines() == 1
    assert shipping.counters() == {"pushed": 1, "retries": 1, reason: 1}


@pytest.mark.parametrize("status", [400, 404, 413, 302])
def test_what_is_refused_for_good_is_not_tried_again(peers: list[Peer], status: int) -> None:
    peers.append(peer := Peer(status))
    shipping = Shipping(peer.url)
    shipping.put(3)
    assert shipping.counters() == {"refused": 3}
    assert peer.pushes.qsize() == 1


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:{1}".format(*taken.getsockname())
    shipping = Shipping(f"http://{address}")
    shipping.put(3)
    assert shipping.counters() == {"unreachable": 3, "retries": 1}


def test_a_loki_that_hangs_holds_up_neither_the_lines_nor_the_end(peers: list[Peer]) -> None:
    peers.append(peer := Peer("hang"))
    shipping = Shipping(peer.url, AT_ONCE, timeout=600, size=10)
    shipping.put(1)
    peer.lines()  # the pusher hangs from here on
    shipping.put(1_000)
    assert shipping.registry.get_sample_value("log_lines_dropped_total", {"reason": "queue"}) == 990
    shipping.pusher.close(timeout=0.2)  # returns, long before the push gives up


def test_a_disk_that_hangs_keeps_no_line_from_loki(peers: list[Peer], tmp_path: Path) -> None:
    peers.append(peer := Peer(204))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    telemetry = Telemetry(loki=peer.url, log_file=pipe, time_scale=NEVER)
    writer = LogWriter.open(telemetry, "svc", registry := CollectorRegistry())
    line = Line(0, "INFO", "part", b"x" * 65_536)  # one fills the pipe: its writer hangs from then on
    for _ in range(4):
        writer.msg(line)
    writer.close(timeout=1)
    assert peer.lines() == 4
    assert registry.get_sample_value("log_lines_pushed_total") == 4
    os.close(reader)
