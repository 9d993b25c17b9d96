"""The process that stands for a container, against an engine that only takes notes; and the relay."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from harness.stack.docker.follower import copy_frames
from harness.stack.docker.relay import relay

ROOT = Path(__file__).parent.parent.parent
WAIT = 20.0


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers for one container: it runs from `start` until `end` is called, or it is killed by what kills."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.asked: list[str] = []
        self.changed = threading.Condition()
        self.running = False
        self.code = 0
        self.refuses = ""  # what it says to `start`
        self.slow = threading.Event()  # until it is set, whoever kills what runs waits
        self.slow.set()

    def end(self, code: int) -> None:
        with self.changed:
            self.running, self.code = False, code
            self.changed.notify_all()

    def note(self, what: str) -> None:
        with self.changed:
            self.asked.append(what)
            self.changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT), self.asked


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeEngine

    def do_GET(self) -> None:
        self._say(200, b"OK")

    def do_POST(self) -> None:
        path = self.path.partition("/containers/one/")[2]
        engine = self.server
        engine.note(path)
        if path == "start" and engine.refuses:
            self._say(500, json.dumps({"message": engine.refuses}).encode())
        elif path == "start":
            engine.running = True
            engine.note("is started")
            self._say(204)
        elif path.startswith("kill"):
            signum = path.partition("=")[2] or "SIGKILL"
            ran = engine.running
            if ran:
                engine.slow.wait(WAIT)
            self._say(204 if ran else 409)
            if ran and signum != "SIGHUP":
                engine.end(128 + int(signal.Signals[signum]))
                engine.note("is killed")
        elif path.startswith("wait"):
            if "next-exit" in path:
                starts = engine.asked.count("is started")
                self._head(200)
                if engine.refuses:  # nobody reads on
                    self.close_connection = True
                    return
                engine.until(lambda: engine.asked.count("is started") > starts)
            with engine.changed:
                engine.changed.wait_for(lambda: not engine.running, WAIT)
            body = json.dumps({"StatusCode": engine.code}).encode()
            if "next-exit" in path:
                self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            else:
                self._say(200, body)
        elif path.startswith("attach"):
            starts = engine.asked.count("is started")
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\n")
            self.wfile.flush()
            self.close_connection = True
            if engine.refuses:
                return
            engine.until(lambda: engine.asked.count("is started") > starts)
            self.wfile.write(b"\x01\0\0\0\0\0\0\x06hello\n\x02\0\0\0\0\0\0\x04ugh\n")
            self.wfile.flush()
            with engine.changed:
                engine.changed.wait_for(lambda: not engine.running, WAIT)
        else:
            self._say(204)

    def _say(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if body.startswith(b"{") else "text/plain")
        self.send_header("Api-Version", "1.44")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:  # whoever has the head of an answer without one may have hung up
            self.wfile.write(body)

    def _head(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a follower that was killed hangs up
            super().handle()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "engine.sock") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def follower(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-S", "-m", "harness.stack.docker.follower", "one"],
        cwd=directory,
        env={"DOCKER_HOST": f"unix://{directory}/engine.sock", "PYTHONPATH": str(ROOT), "PATH": os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (3, 3), (137, -9), (143, -15), (255, 255), (128, 128)])
def test_a_follower_says_what_its_container_says_and_ends_as_it_ends(
    engine: FakeEngine, tmp_path: Path, code: int, ends: int
) -> None:
    process = follower(tmp_path)
    engine.until(lambda: "is started" in engine.asked)
    engine.end(code)
    said, _ = process.communicate(timeout=WAIT)
    assert (said, process.returncode) == ("hello\nugh\n", ends)
    order = [one.partition("?")[0] for one in engine.asked]
    assert order.index("attach") < order.index("start") and order.index("wait") < order.index("start")


def test_signals_go_to_the_container_and_sigcont_lets_it_go_on(engine: FakeEngine, tmp_path: Path) -> None:
    process = follower(tmp_path)
    engine.until(lambda: "is started" in engine.asked)
    for signum, request in (
        (signal.SIGHUP, "kill?signal=SIGHUP"),
        (signal.SIGCONT, "unpause"),
        (signal.SIGINT, "kill?signal=SIGINT"),
    ):
        process.send_signal(signum)
        engine.until(lambda wanted=request: wanted in engine.asked)  # type: ignore[misc]
    process.communicate(timeout=WAIT)
    assert process.returncode == -signal.SIGINT


def test_no_thread_takes_a_signal_from_the_one_that_it_is_to_wake(engine: FakeEngine, tmp_path: Path) -> None:
    """Of SIGTERM and SIGCONT at once, as the supervisor stops a service, the kernel gives one to any that may."""
    process = follower(tmp_path)
    engine.until(lambda: "is started" in engine.asked)
    blocked = {}
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        mask = re.search(r"^SigBlk:\t(\w+)$", (task / "status").read_text(), re.MULTILINE)
        assert mask is not None
        blocked[int(task.name)] = bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)
    assert blocked.pop(process.pid) is False
    assert list(blocked.values()) == [True]
    engine.end(0)
    process.communicate(timeout=WAIT)


def test_the_container_of_a_follower_that_is_killed_is_killed_before_the_next_one_starts(
    engine: FakeEngine, tmp_path: Path
) -> None:
    first = follower(tmp_path)
    engine.until(lambda: "is started" in engine.asked)
    before = engine.asked.count("kill")  # a fresh start kills what runs, too
    engine.slow.clear()
    first.kill()
    engine.until(lambda: engine.asked.count("kill") > before)  # the shadow's, which takes its time
    second = follower(tmp_path)
    end = time.monotonic() + WAIT
    while engine.asked.count("kill") == before + 1 and not waits_for_a_lock(second.pid):
        assert time.monotonic() < end
        time.sleep(0.01)
    engine.slow.set()
    engine.until(lambda: engine.asked.count("is started") == 2)
    between = engine.asked[engine.asked.index("is started") + 1 :]
    assert between.index("is killed") < between.index("start")
    engine.end(0)
    first.communicate(timeout=WAIT)
    second.communicate(timeout=WAIT)
    assert (first.returncode, second.returncode) == (-9, 0)


def waits_for_a_lock(pid: int) -> bool:
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any("->" in words and str(pid) in words for words in lines)


def test_a_container_that_cannot_be_started_is_told_in_the_log(engine: FakeEngine, tmp_path: Path) -> None:
    engine.refuses = "driver failed programming external connectivity"
    said, _ = (process := follower(tmp_path)).communicate(timeout=WAIT)
    assert process.returncode == 1
    assert engine.refuses in said


def test_frames_that_are_cut_off_end_the_copy() -> None:
    read, write = os.pipe()
    copy_frames(io.BytesIO(b"\x01\0\0\0\0\0\0\x03abc\x01\0\0\0"), write)
    os.close(write)
    assert os.read(read, 100) == b"abc"
    os.close(read)


def test_the_relay_hands_on_both_directions_and_their_ends(tmp_path: Path) -> None:
    async def scene() -> tuple[bytes, bytes]:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read()).upper())  # until the end of what is sent
            writer.close()

        behind = await asyncio.start_server(shout, "127.0.0.1", 0)
        port = behind.sockets[0].getsockname()[1]
        with socket.socket() as free:  # bound, and nobody listens
            free.bind(("127.0.0.1", 0))
            deaf = free.getsockname()[1]
            serving = asyncio.create_task(relay("127.0.0.2", [port, deaf], tmp_path / "ready"))
            while not (tmp_path / "ready").exists():
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection("127.0.0.2", port)
            writer.write(b"words" * 100_000)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.2", deaf)
            try:
                nothing = await reader.read()
            except ConnectionResetError:
                nothing = b""
            writer.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        behind.close()
        return answer, nothing

    answer, nothing = asyncio.run(asyncio.wait_for(scene(), WAIT))
    assert answer == b"WORDS" * 100_000
    assert nothing == b""
