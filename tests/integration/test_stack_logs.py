"""`harness stack logs` and `harness stack status` on a small stack that is really up, on a machine without Milvus."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.jsonio import read_json
from tests.integration.helpers import harness
from tests.integration.lacking import without_milvus

pytestmark = pytest.mark.stack

# A service that writes what it is sent as it is, and keeps a structured log; then it hangs up.
ECHO = """\
import os, socket, sys
log = open(os.path.join(os.environ["DIR"], "web.jsonl"), "a", buffering=1)
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    with connection:
        said = connection.makefile("rb").read()
        if said == b"die":
            sys.exit(3)
        if said:
            sys.stdout.buffer.write(said + b"\\n")
            sys.stdout.flush()
            log.write('{"bytes": %d}\\n' % len(said))
"""
STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: echo}
spec:
  services:
    redis: {use: redis}
    traces: {use: otlp-sink}
    milvus: {use: milvus}
    postgres-exporter: {job: ["true"]}
    web:
      command: [python, echo.py]
      ports: [http]
      env: {PORT: "${port:web.http}", DIR: "${dir}"}
  links: {app->redis: {to: redis.resp}}
  target: web.http
"""


class Up:
    """That stack, left running by `harness stack up`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = without_milvus(directory)
        (directory / "stack.yaml").write_text(STACK)
        (directory / "echo.py").write_text(ECHO)
        done = self.harness("up")
        assert done.returncode == 0, done.stdout + done.stderr

    def harness(self, *arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
        return harness("stack", *arguments, cwd=self.directory, env={**self.env, "COLUMNS": str(columns)})

    def say(self, text: bytes) -> None:
        """Let the service write a line; returns when it has."""
        (info,) = (self.directory / "state/slo-harness/stacks").glob("*/stack.json")
        with socket.create_connection(("127.0.0.1", read_json(info)["ports"]["web"]["http"])) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""

    def follow(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness.cli.main", "stack", "logs", *arguments, "-f"],
            cwd=self.directory,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """For tests that leave it as it was."""
    one = Up(tmp_path_factory.mktemp("shared"))
    yield one
    one.harness("down")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    one = Up(tmp_path)
    yield one
    one.harness("down")


def read_until(process: subprocess.Popen[str], last: str) -> list[str]:
    """The lines of its output up to the one that is `last`."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.removesuffix("\n"))
        if lines[-1] == last:
            return lines
    raise AssertionError(f"{last!r} never came, but {lines}")


def end(process: subprocess.Popen[str]) -> str:
    """What else it says until it ends by itself."""
    rest, _ = process.communicate(timeout=30)
    return rest


def test_the_logs_of_a_service_are_shown_harmless_with_heads_and_only_their_ends(shared: Up) -> None:
    shared.say(b"\x1b[31mred\x1b[0m \x1b]0;title\x07 and a bell")
    shared.say(b"last")
    shown = shared.harness("logs", "web")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == (
        "==> web.log <==\nlistening\nred \\x1b]0;title\\x07 and a bell\nlast\n\n"
        '==> web.jsonl <==\n{"bytes": 34}\n{"bytes": 4}\n'
    )
    ends = shared.harness("logs", "web", "-n", "1")
    assert ends.stdout == '==> web.log <==\nlast\n\n==> web.jsonl <==\n{"bytes": 4}\n'
    redis = shared.harness("logs", "redis", "-n", "1")
    assert "==>" not in redis.stdout and len(redis.stdout.splitlines()) == 1
    sink = shared.harness("logs", "traces")  # its spans are evidence, no log
    assert sink.returncode == 0 and "==>" not in sink.stdout
    for name in ("links", "postgres-exporter"):
        assert shared.harness("logs", name).returncode == 0
    job = shared.harness("logs", "postgres-exporter")
    assert (job.stdout, job.stderr) == ("", "postgres-exporter has written nothing yet\n")


def test_following_goes_on_until_it_is_interrupted_or_the_stack_ends(up: Up) -> None:
    interrupted, to_the_end = up.follow("web", "-n", "0"), up.follow("web")
    try:
        assert read_until(interrupted, "==> web.jsonl <==") == ["==> web.log <==", "", "==> web.jsonl <=="]
        read_until(to_the_end, "==> web.jsonl <==")
        up.say(b"a word")
        assert read_until(interrupted, '{"bytes": 6}') == [
            "", "==> web.log <==", "a word", "", "==> web.jsonl <==", '{"bytes": 6}'
        ]  # fmt: skip
        interrupted.send_signal(signal.SIGINT)
        assert end(interrupted) == ""
        assert interrupted.returncode == 0
        assert to_the_end.poll() is None
        assert up.harness("down").returncode == 0
        assert "a word" in end(to_the_end)
        assert to_the_end.returncode == 0
    finally:
        for process in (interrupted, to_the_end):
            process.kill()
            process.communicate()


def test_who_has_no_log_is_told_who_has(shared: Up) -> None:
    unknown = shared.harness("logs", "wbe")
    assert unknown.returncode == 2
    assert "stack.yaml:5:3: service-unknown: no service 'wbe'" in unknown.stderr
    assert "Known are: links, postgres-exporter, redis, traces, web." in unknown.stderr
    missing = shared.harness("logs", "milvus")
    assert missing.returncode == 3
    assert "service-unavailable: milvus did not run" in missing.stderr and "stack install" in missing.stderr


def test_without_a_stack_the_next_step_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK)
    for words in (["stack", "logs", "web"], ["stack", "logs", "web", "-f"], ["stack", "status"]):
        done = harness(*words, cwd=tmp_path, env={"XDG_STATE_HOME": str(tmp_path / "state")})
        assert done.returncode == 3
        assert "no stack is up; harness stack up starts one" in done.stdout + done.stderr
    nowhere = harness("stack", "logs", "web", "--stack", "no.yaml", cwd=tmp_path)
    assert nowhere.returncode == 2 and "file-unreadable" in nowhere.stderr


def test_a_reader_that_goes_away_ends_it_without_a_traceback(up: Up) -> None:
    for _ in range(3):
        up.say(b"x" * 100_000)
    command = f"{sys.executable} -m harness.cli.main stack logs web | head -c 10"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=up.directory,
        env={**os.environ, **up.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "==> web.lo"
    assert done.stderr == ""


def test_status_keeps_names_whole_and_says_why_a_service_is_unavailable(shared: Up) -> None:
    shown = shared.harness("status")
    assert shown.returncode == 0, shown.stderr
    rows = {words[0]: words for line in shown.stdout.splitlines() if (words := line.split())}
    assert rows["postgres-exporter"][1] == "done"
    assert rows["milvus"][1] == "unavailable"
    assert rows["web"][1] == "healthy"
    table = shown.stdout.split("milvus: ")[0]
    assert max(map(len, table.splitlines())) <= 80
    (why,) = [line for line in shown.stdout.splitlines() if line.startswith("milvus: ")]
    assert "is neither on PATH nor in" in why and "; remedy: run `harness stack install --yes`" in why
    assert "postgres-exporter" in shared.harness("status", columns=40).stdout


def test_a_stack_with_a_dead_service_still_shows_its_logs_and_status_says_that_it_is_up(up: Up) -> None:
    up.say(b"my last words")
    up.say(b"die")
    shown = up.harness("logs", "web")
    assert shown.returncode == 0 and "my last words" in shown.stdout
    status = up.harness("status")
    assert status.returncode == 3
    assert "is up, and runs will not use it" in status.stdout and "harness stack down" in status.stdout
