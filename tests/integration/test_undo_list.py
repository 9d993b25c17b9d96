"""The supervisor's undo list, limits and duty cycles, on small processes: done in order, whatever ends a fault."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.faults.waiting import wait_for
from harness.stack import procfs
from harness.stack.guard import Guard
from harness.stack.handle import Stack
from harness.stack.isolation import VARIABLE, best_isolation
from harness.stack.launch import Launched
from harness.stack.ports import PortBlock
from harness.stack.processes import Child, Children
from harness.stack.runtime import up
from harness.stack.supervisor import socket_name
from harness.stack.undo import UndoList


@pytest.fixture(scope="module", params=["strongest", "subreaper"])
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        best_isolation.cache_clear()
        if request.param != "strongest":
            patch.setenv(VARIABLE, request.param)
        launched = Launched(sys.executable, PortBlock.reserve(1))
        yield launched
        launched.close()
    best_isolation.cache_clear()


@pytest.fixture
def guard(one: Launched) -> Iterator[Guard]:
    guard = Guard(one.id)
    yield guard
    guard.close()


def spec(one: Launched, *argv: str) -> dict[str, Any]:
    env = {"PATH": os.environ["PATH"], procfs.MARK: one.id}
    return {"argv": argv, "env": env, "cwd": str(one.directory), "log": str(one.directory / "log")}


def start(one: Launched, name: str, *argv: str) -> None:
    one.control.ask("start", name=name, **spec(one, *argv))


def process(one: Launched, name: str) -> dict[str, Any]:
    told: dict[str, Any] = one.control.ask("status")["processes"][name]
    return told


def outside(one: Launched, name: str) -> int:
    pid = process(one, name)["pid"]
    return procfs.outside_pids({pid}, one.control.supervisor_pid)[pid]


def write(one: Launched, name: str, text: str) -> dict[str, Any]:
    return {"do": "write", "path": str(one.directory / name), "text": text}


def test_steps_are_done_in_their_order_and_one_that_takes_time_is_waited_for(one: Launched, guard: Guard) -> None:
    out = one.directory / "order"
    slow = {"do": "run", **spec(one, "sh", "-c", f"sleep 0.1; cat {out} >>{out}.seen")}
    guard.arm("three", [write(one, "order", "first\n"), slow, write(one, "order", "second\n"), slow])
    assert guard.state()["state"] == "armed" and not out.exists()
    assert guard.undo() == "asked"
    assert (one.directory / "order.seen").read_text() == "first\nsecond\n"
    assert guard.undo() == "asked", "a second time changes nothing"
    assert (one.directory / "order.seen").read_text() == "first\nsecond\n"


def test_what_is_there_is_written_whole_and_what_is_not_is_no_error_to_remove(one: Launched, guard: Guard) -> None:
    (one.directory / "file").write_text("changed, and longer")
    steps = [write(one, "file", "as before"), {"do": "remove", "path": str(one.directory / "nothing")}]
    guard.arm("files", steps)
    guard.undo()
    assert (one.directory / "file").read_text() == "as before"
    assert not list(one.directory.glob(".*.undo"))


def test_the_end_of_the_connection_undoes_and_so_does_the_time(one: Launched) -> None:
    for name, seconds in (("closed", None), ("time", 0.05)):
        guard, looks = Guard(one.id), Guard(one.id)
        guard.arm(name, [write(one, name, "done")], seconds)
        if seconds is None:
            guard.close()
        looks.key = guard.key
        assert wait_for(lambda looks=looks: looks.state()["state"] == "done")
        assert looks.state()["by"] == name
        assert (one.directory / name).read_text() == "done"
        guard.close()
        looks.close()


def test_the_death_of_who_armed_it_undoes(one: Launched) -> None:
    path = one.directory / "dead"
    code = (
        "import sys, time; from harness.stack.guard import Guard; guard = Guard(sys.argv[1]);"
        "guard.arm('x', [{'do': 'write', 'path': sys.argv[2], 'text': 'done'}]); print('armed', flush=True);"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, one.id, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"armed\n"
        assert not path.exists()
        child.kill()
        child.wait()
    assert wait_for(path.exists)


def test_a_step_that_fails_is_told_and_the_rest_is_done(one: Launched, guard: Guard) -> None:
    start(one, "target", "sleep", "600")
    wrong: list[dict[str, Any]] = [
        {"do": "start", "name": "nobody"},
        {"do": "signal"},
        {"do": "limits", "pids": 7},
        {"do": "limits", "pids": [[1, 2, "x"]]},
        {"do": "write", "path": str(one.directory / "no/such/place"), "text": ""},
        {"do": "run", **spec(one, "/no/such/program")},
        {"do": "run", **spec(one, "sh", "-c", "exit 3")},
        {"do": "run", **spec(one, "sleep", "600"), "patience": 0.05},
        {"do": "signal", "name": "target", "signal": float("inf")},
    ]
    guard.arm("all wrong", [*wrong, write(one, "rest", "done")])
    with pytest.raises(HarnessError) as raised:
        guard.undo()
    assert raised.value.slug == "fault-not-undone"
    told = guard.state()
    assert told["state"] == "failed" and len(told["errors"]) == len(wrong)
    assert "ended with 3" in told["errors"][6] and "ended with -9" in told["errors"][7]
    assert (one.directory / "rest").read_text() == "done"


def test_what_cannot_be_armed_is_refused_and_the_supervisor_lives(one: Launched, guard: Guard) -> None:
    for steps, seconds in (([{"do": "pray"}], None), ([7], None), ([], float("nan")), ([], float("inf")), ([], -1.0)):
        with pytest.raises(HarnessError) as raised:
            guard.arm("wrong", steps, seconds)  # type: ignore[arg-type]
        assert raised.value.slug == "supervisor-refused"
    guard.arm("once", [], 1e9)  # longer than epoll can wait
    with pytest.raises(HarnessError):
        guard.arm("twice", [])
    for request in (b'{"op": "signal", "name": "x", "signal": 1e999}', b"[" * 100_000, b'{"op": "undo", "key": "?"}'):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(socket_name(one.id))
            raw.sendall(request + b"\n")
            assert b'"ok": false' in raw.recv(4096)
    assert guard.ask("info")["stack"] == one.id


def test_a_service_is_started_when_it_and_its_tree_are_gone_and_only_then(one: Launched, guard: Guard) -> None:
    # its child has a session of its own, as PostgreSQL's have, and holds the lock that the service wants
    lock = one.directory / "lock"
    script = f"exec 9>{lock}; flock -n 9 || exit 1; setsid sleep 600 & wait"
    start(one, "locker", "sh", "-c", script)
    assert wait_for(lambda: len(procfs.tree(outside(one, "locker"))) == 2)
    tree = procfs.tree(outside(one, "locker"))
    guard.arm("killed", [{"do": "start", "name": "locker", "within": 0.2}])
    guard.ask("stop", name="locker", signal=int(signal.SIGKILL), grace=0)
    guard.undo()  # at once, though it may not be reaped yet
    assert not any(procfs.stat(pid) for pid in tree)
    told = process(one, "locker")
    assert (told["state"], told["restarts"], told["asked"]) == ("running", 1, False)
    assert one.control.ask("status")["exits"][-1]["asked"] is True


def test_a_start_waits_for_what_was_killed_with_the_service(tmp_path: Path) -> None:
    slow_to_die = subprocess.Popen(["sleep", "600"])
    try:
        known = procfs.stat(slow_to_die.pid)
        assert known is not None
        told = {
            "argv": ["true"],
            "env": {"PATH": os.environ["PATH"]},
            "cwd": str(tmp_path),
            "log": str(tmp_path / "log"),
        }
        ended = Child("one", told, 0, 0, state="exited", code=-9, killed=[(slow_to_die.pid, known[2])])
        children = Children(table={"one": ended})
        undo = UndoList(children, lambda _: None)
        undo.arm(None, "key", "killed", [{"do": "start", "name": "one"}], None)
        undo.undo("key")
        assert undo.report()[0]["state"] == "undoing" and children.table["one"] is ended
        assert undo.advance() is not None, "it is to be called again"
    finally:
        slow_to_die.kill()
        slow_to_die.wait()
    undo.advance()
    assert undo.report()[0]["state"] == "done" and children.table["one"].restarts == 1
    os.waitpid(children.table["one"].pid, 0)


def test_a_service_that_ends_again_is_started_again_but_not_for_ever(one: Launched, guard: Guard) -> None:
    start(one, "short", "true")
    assert wait_for(lambda: process(one, "short")["state"] == "exited")
    guard.arm("short-lived", [{"do": "start", "name": "short", "within": 60}])
    guard.undo()
    assert process(one, "short")["restarts"] == 3


def test_two_faults_on_one_service_are_undone_each_for_itself(one: Launched) -> None:
    start(one, "both", "sleep", "600")
    pid = outside(one, "both")
    first, second = Guard(one.id), Guard(one.id)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    told = first.ask("limits", name="both")["pids"]
    first.arm("limits", [{"do": "limits", "name": "both", "pids": told}])
    second.arm("pause", [{"do": "signal", "name": "both", "signal": int(signal.SIGCONT), "tree": True}])
    first.ask("limit", name="both", spare=2)
    second.ask("signal", name="both", signal=int(signal.SIGSTOP), tree=True)
    assert wait_for(lambda: second.ask("stopped", name="both")["stopped"])
    first.undo()
    assert second.ask("stopped", name="both")["stopped"] and second.state()["state"] == "armed"
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == before
    second.undo()
    assert not first.ask("stopped", name="both")["stopped"]
    first.close()
    second.close()


def test_a_signal_to_one_that_is_gone_is_no_error(one: Launched, guard: Guard) -> None:
    start(one, "gone", "true")
    assert wait_for(lambda: process(one, "gone")["state"] == "exited")
    steps = [{"do": "signal", "name": name, "signal": 18, "tree": True} for name in ("gone", "never-was")]
    guard.arm("gone", [*steps, {"do": "full-speed", "name": "gone"}, {"do": "limits", "name": "gone", "pids": []}])
    assert guard.undo() == "asked"


def test_one_that_cannot_go_on_after_so_long_is_killed_and_started(one: Launched) -> None:
    start(one, "leased", "sleep", "600")
    steps = [{"do": "kill", "name": "leased", "after": 0.3}, {"do": "start", "name": "leased"}]
    short, long = Guard(one.id), Guard(one.id)
    long.arm("long", steps, 0.4)
    short.arm("short", steps)
    short.undo()
    assert process(one, "leased")["restarts"] == 0
    assert wait_for(lambda: long.state()["state"] == "done")
    assert process(one, "leased")["restarts"] == 1
    assert one.control.ask("status")["exits"][-1]["asked"] is True
    short.close()
    long.close()


def test_a_limit_leaves_exactly_so_many_files_and_those_born_under_it_get_the_old_one(
    one: Launched, guard: Guard
) -> None:
    code = (
        "import os, signal, subprocess, sys\n"
        "os.dup2(1, 50)\n"  # a number far above the others
        "print('up', flush=True)\n"
        "signal.sigwait({signal.SIGUSR1})\n"
        "got = []\n"
        "try:\n"
        "    while True: got.append(os.open('/dev/null', os.O_RDONLY))\n"
        "except OSError as error: print(len(got), error.errno, flush=True)\n"
        "for fd in got: os.close(fd)\n"
        "if os.fork() == 0: signal.pause()\n"
        "print('forked', flush=True)\n"
        "signal.pause()\n"
    )
    log = one.directory / "files.log"
    mask = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
    one.control.ask("start", name="files", **(spec(one, sys.executable, "-c", mask + code) | {"log": str(log)}))
    assert wait_for(lambda: log.exists() and log.read_text() == "up\n")
    before = guard.ask("limits", name="files")["pids"]
    guard.arm("files", [{"do": "limits", "name": "files", "pids": before}])
    guard.ask("limit", name="files", spare=5)
    guard.ask("signal", name="files", signal=int(signal.SIGUSR1))
    assert wait_for(lambda: "forked" in log.read_text())
    assert log.read_text().splitlines()[1] == "5 24", "EMFILE after five"
    now = guard.ask("limits", name="files")["pids"]
    assert len(now) == 2 and all(soft < before[0][2] for _, _, soft, _ in now)
    guard.undo()
    assert [soft for _, _, soft, _ in guard.ask("limits", name="files")["pids"]] == [before[0][2]] * 2


def test_a_duty_cycle_stops_the_whole_tree_for_its_share(one: Launched, guard: Guard) -> None:
    start(one, "busy", "sh", "-c", "while :; do :; done & while :; do :; done")
    assert wait_for(lambda: len(procfs.tree(outside(one, "busy"))) == 2)
    guard.arm("slow", [{"do": "full-speed", "name": "busy"}])
    guard.ask("throttle", name="busy", share=0.25, period=0.1)
    tree = procfs.tree(outside(one, "busy"))
    wanted = {("T", "T"), ("R", "R")}
    seen: set[tuple[str, ...]] = set()

    def look() -> bool:
        seen.add(tuple(told[0] for pid in tree if (told := procfs.stat(pid)) is not None))
        return wanted <= seen

    assert wait_for(look)
    assert wait_for(lambda: guard.ask("throttled", name="busy")["periods"] >= 5)
    told = guard.ask("throttled", name="busy")
    assert 0.25 < told["seconds_stopped"] / told["seconds"] < 1
    with pytest.raises(HarnessError):
        guard.ask("throttle", name="busy", share=0.5, period=0.1)
    guard.undo()
    assert not guard.ask("stopped", name="busy")["stopped"]
    with pytest.raises(HarnessError):
        guard.ask("throttled", name="busy")
    guard.ask("stop", name="busy", signal=int(signal.SIGKILL), grace=0)


@pytest.mark.parametrize(("share", "period"), [(0, 0.1), (1, 0.1), (0.5, 0.001), (0.5, 60), (float("nan"), 0.1)])
def test_a_duty_cycle_that_is_none_is_refused(one: Launched, guard: Guard, share: float, period: float) -> None:
    name = f"idle-{share}-{period}"
    start(one, name, "sleep", "600")
    with pytest.raises(HarnessError):
        guard.ask("throttle", name=name, share=share, period=period)


def test_the_end_of_a_process_ends_its_duty_cycle_and_another_of_its_name_has_none(one: Launched, guard: Guard) -> None:
    start(one, "brief", "sleep", "600")
    guard.ask("throttle", name="brief", share=0.1, period=0.02)
    assert wait_for(lambda: guard.ask("throttled", name="brief")["periods"] > 0)
    guard.ask("stop", name="brief", signal=int(signal.SIGKILL), grace=0)
    assert wait_for(lambda: process(one, "brief")["state"] == "exited")
    guard.ask("restart", name="brief")
    with pytest.raises(HarnessError):
        guard.ask("throttled", name="brief")
    guard.ask("throttle", name="brief", share=0.5, period=0.02)


def test_one_that_went_well_is_remembered_as_long_as_somebody_may_ask(one: Launched, guard: Guard) -> None:
    guard.arm("kept", [])
    guard.undo()
    for _ in range(80):
        other = Guard(one.id)
        other.arm("one of many", [])
        other.undo()
        other.close()
    assert guard.state()["state"] == "done"
    assert wait_for(lambda: len(guard.ask("undo-list")["entries"]) < 80)


TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: undone}
spec:
  services: {still: {command: [sleep, "600"], ports: [none], ready: {http: "http://${address:sink.http}/healthz"}},
             sink: {use: webhook-sink}}
  target: sink.http
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    (tmp_path / "stack.yaml").write_text(TEXT)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with up(tmp_path / "stack.yaml", lease=True, emit=lambda _: None) as stack:
        yield stack


@pytest.mark.stack
def test_a_stack_with_a_fault_that_was_not_undone_is_not_healthy(stack: Stack) -> None:
    assert stack.not_undone() == [] and stack.healthy()
    guard = stack.guard()
    guard.arm("something", [stack.undo_program("no_such_module")])
    guard.close()
    assert wait_for(stack.not_undone)
    (told,) = stack.not_undone()
    assert told.startswith("something: run ") and "ended with 1" in told
    assert not stack.healthy()
    assert "no_such_module" in (stack.directory / "undo.log").read_text()
