"""The supervisor: starts, signals, reports, and takes everything with it. No services, just small processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.stack import procfs
from harness.stack.control import Control
from harness.stack.isolation import VARIABLE, best_isolation
from harness.stack.launch import Launched
from harness.stack.ports import PortBlock
from harness.stack.supervisor import socket_name
from harness.stack.sweep import is_live, live_stacks, sweep


@pytest.fixture(scope="module", params=["strongest", "subreaper"])
def isolation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """State and cache directories for this module, and one way to hold processes together."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("home")
        patch.setenv("XDG_STATE_HOME", str(base / "state"))
        patch.setenv("XDG_CACHE_HOME", str(base / "cache"))
        best_isolation.cache_clear()
        if request.param != "strongest":
            patch.setenv(VARIABLE, request.param)
        yield request.param
    best_isolation.cache_clear()


@pytest.fixture(scope="module")
def shared(isolation: str) -> Iterator[Launched]:
    """For tests that leave the supervisor as it was."""
    one = Launched(sys.executable, PortBlock.reserve(1))
    yield one
    one.close()


@pytest.fixture
def launched(isolation: str) -> Iterator[Launched]:
    one = Launched(sys.executable, PortBlock.reserve(1))
    yield one
    one.close()


def start(one: Launched, name: str, *argv: str, **env: str) -> Path:
    log = one.directory / f"{name}.log"
    one.control.ask(
        "start",
        name=name,
        argv=argv,
        env={"PATH": os.environ["PATH"], procfs.MARK: one.id, **env},
        cwd=str(one.directory),
        log=str(log),
    )
    return log


def report(one: Launched, name: str) -> dict[str, Any]:
    told: dict[str, Any] = one.control.ask("status")["processes"][name]
    return told


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def outside(one: Launched, name: str) -> int:
    pid = report(one, name)["pid"]
    return procfs.outside_pids({pid}, one.control.supervisor_pid)[pid]


def test_a_process_gets_its_environment_directory_log_and_session(shared: Launched) -> None:
    log = start(shared, "one", "sh", "-c", 'echo "$WORD"; pwd; cut -d" " -f1,6 /proc/self/stat; echo err >&2', WORD="x")
    until(lambda: report(shared, "one")["state"] == "exited")
    word, directory, numbers, error = log.read_text().splitlines()
    pid = report(shared, "one")["pid"]
    assert (word, directory, error) == ("x", str(shared.directory), "err")
    assert int(numbers.split()[1]) == pid  # leads a session of its own
    assert report(shared, "one")["code"] == 0


def test_exit_codes_signals_and_restarts_are_told_apart(shared: Launched) -> None:
    start(shared, "three", "sh", "-c", "exit 3")
    start(shared, "killed", "sleep", "600")
    shared.control.ask("signal", name="killed", signal=int(signal.SIGKILL))
    until(lambda: {report(shared, name)["state"] for name in ("three", "killed")} == {"exited"})
    assert report(shared, "three")["code"] == 3
    assert report(shared, "killed")["code"] == -signal.SIGKILL
    asked = {one["name"]: one["asked"] for one in shared.control.ask("status")["exits"]}
    assert asked["three"] is asked["killed"] is False
    shared.control.ask("restart", name="killed")
    assert report(shared, "killed")["restarts"] == 1
    assert report(shared, "killed")["state"] == "running"


def test_stop_asks_first_and_kills_what_does_not_listen(shared: Launched) -> None:
    log = start(shared, "deaf", "sh", "-c", "trap '' TERM; echo set; sleep 600 & wait; sleep 600")
    until(lambda: log.read_text() == "set\n")
    shared.control.ask("stop", name="deaf", signal=int(signal.SIGTERM), grace=0.1)
    until(lambda: report(shared, "deaf")["state"] == "exited")
    assert report(shared, "deaf")["code"] == -signal.SIGKILL
    assert report(shared, "deaf")["asked"] is True
    start(shared, "polite", "sleep", "600")
    shared.control.ask("stop", name="polite", signal=int(signal.SIGTERM), grace=60)
    until(lambda: report(shared, "polite")["code"] == -signal.SIGTERM)


def test_a_stopped_process_can_still_be_ended(shared: Launched) -> None:
    start(shared, "frozen", "sleep", "600")
    shared.control.ask("signal", name="frozen", signal=int(signal.SIGSTOP))
    shared.control.ask("stop", name="frozen", signal=int(signal.SIGTERM), grace=60)
    until(lambda: report(shared, "frozen")["state"] == "exited")


def test_the_end_of_a_process_takes_its_group_along(shared: Launched) -> None:
    log = start(shared, "parent", "sh", "-c", "sleep 600 & echo started; wait")
    until(lambda: log.read_text() == "started\n")
    tree = procfs.trees({"": outside(shared, "parent")})[""]
    assert len(tree) == 2
    shared.control.ask("signal", name="parent", signal=int(signal.SIGKILL))
    until(lambda: not any(procfs.stat(pid) for pid in tree))


def test_orphans_are_reaped(launched: Launched) -> None:
    log = start(launched, "forker", "sh", "-c", "setsid sh -c 'sleep 0.05; exit 0' & setsid sleep 0.05 & echo done")
    until(lambda: report(launched, "forker")["state"] == "exited")
    assert log.read_text() == "done\n"
    until(lambda: procfs.children(launched.control.supervisor_pid) == [])


def test_subscribers_hear_of_exits(shared: Launched) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
        raw.settimeout(5)
        raw.connect(socket_name(shared.id))
        lines = raw.makefile("rb")
        raw.sendall(b'{"op": "subscribe", "id": 7}\n')
        assert json.loads(lines.readline()) == {"id": 7, "ok": True}
        start(shared, "short", "false")
        told = json.loads(lines.readline())
        assert (told["event"], told["name"], told["code"]) == ("exit", "short", 1)


def test_a_bad_request_is_answered_and_harms_nobody(shared: Launched) -> None:
    wrong = {
        b"{": "JSONDecodeError",
        b"[]": "AttributeError",
        b"{}": "KeyError: 'op'",
        b'{"op": "dance"}': "unknown op 'dance'",
        b'{"op": "signal", "name": "nobody", "signal": 9}': "nobody is not running",
        b'{"op": "start", "name": "x", "argv": ["x"], "env": {}, "cwd": "/", "log": "/no/such"}': "FileNotFoundError",
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
        raw.settimeout(5)
        raw.connect(socket_name(shared.id))
        lines = raw.makefile("rb")
        for line, words in wrong.items():
            raw.sendall(line + b"\n")
            answer = json.loads(lines.readline())
            assert answer["ok"] is False
            assert words in answer["error"]
    assert shared.control.ask("info")["stack"] == shared.id


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_is_not_served(shared: Launched) -> None:
    ask = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({socket_name(shared.id)!r}); " + (
        's.settimeout(5); s.sendall(b\'{"op": "shutdown"}\\n\'); print(s.recv(100))'
    )
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", ask],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No such file" in done.stderr:
        pytest.skip("no system Python that another user can run")
    assert done.stdout.strip() in ("b''", ""), done.stdout
    assert shared.control.ask("info")["ok"]


def test_the_directory_is_locked_while_it_lives_and_gone_after(launched: Launched) -> None:
    assert is_live(launched.directory)
    assert launched.directory in live_stacks()
    assert sweep() == []
    start(launched, "one", "sleep", "600")
    pid = outside(launched, "one")
    launched.close()
    assert not launched.directory.exists()
    assert procfs.stat(pid) is None
    with pytest.raises(HarnessError) as lost:
        launched.control.ask("info")
    assert lost.value.slug == "stack-lost"


def test_after_release_it_outlives_the_lease_and_ends_by_shutdown(launched: Launched) -> None:
    assert launched.control.ask("info")["leased"] is True
    launched.release()
    assert launched.control.ask("info")["leased"] is False
    second = Control(launched.id)
    second.ask("shutdown")
    assert second.wait_closed(5)
    second.close()


def test_a_forked_child_of_the_holder_does_not_keep_the_lease(launched: Launched) -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        launched.close()  # waits until all is gone
        assert not launched.directory.exists()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_supervisor_that_cannot_start_says_why(isolation: str) -> None:
    before = live_stacks()
    with pytest.raises(HarnessError) as failed:
        Launched("/no/such/python", PortBlock.reserve(1))
    assert failed.value.slug == "supervisor-failed"
    assert "/no/such/python" in failed.value.cause
    assert live_stacks() == before
