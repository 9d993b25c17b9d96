"""However a stack's holder ends, nothing of the stack is left: no process, port, shared memory, directory."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.paths import cache_dir
from harness.stack import procfs
from harness.stack.control import Control
from harness.stack.isolation import VARIABLE
from harness.stack.runtime import down, list_running
from harness.stack.sweep import sweep
from tests.proofs.cleanup import STACK, hold, read_until, release
from tests.proofs.remains import Seen, directories, observe, poll, wait_clean

pytestmark = pytest.mark.stack

MODES = ["strongest", "userns", "subreaper"]
SERVICES = """\
    postgres: {use: postgres}
    redis: {use: redis}
    family:
      command: [python, -c, "import subprocess, sys; subprocess.Popen(['setsid', 'sleep', '600']); sys.stdin = None;
        import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')",
        "${port:family.http}"]
      ports: [http]
"""
SMALL = f"""\
apiVersion: harness/v1
kind: Stack
metadata: {{name: small}}
spec:
  services:
{SERVICES}
  links:
    client->redis: {{to: redis.resp}}
  target: redis.resp
"""


class Held:
    """A holder with a stack that is ready, and everything that was seen of it."""

    def __init__(self, directory: Path, text: str, *flags: str) -> None:
        stack = directory / "stack.yaml"
        stack.write_text(text)
        self.state_home = directory / "state"
        self.seen: Seen = observe(self.state_home / "slo-harness", cache_dir())
        self.holder: subprocess.Popen[str] = hold(stack, self.state_home, *flags)
        self.told = read_until(self.holder, "ready")
        if "--no-lease" not in flags:
            self.seen.look(self.holder.pid)

    def named(self, name: str) -> list[int]:
        """Processes of the stack by the name of their command."""
        return [pid for (pid, _), comm in self.seen.processes.items() if comm == name]

    def supervisor(self) -> int:
        control = Control(self.told["ready"])
        control.close()
        return control.supervisor_pid

    def assert_clean(self) -> None:
        seconds, left = wait_clean(self.seen)
        assert left == [], f"left after {seconds:.1f} s: {left}"


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to hold the processes together that works on this machine."""
    if request.param == "userns":
        works = subprocess.run(["unshare", "--user", "--map-current-user", "true"], capture_output=True, check=False)
        if works.returncode != 0:
            pytest.skip("user namespaces are refused on this machine")
    if request.param != "strongest":
        monkeypatch.setenv(VARIABLE, request.param)
    return str(request.param)


@pytest.fixture
def held(mode: str, tmp_path: Path) -> Iterator[Held]:
    one = Held(tmp_path, SMALL)
    assert mode == "strongest" or one.told["isolation"] == mode
    assert len(one.seen.processes) >= 10
    assert len(one.seen.inodes) >= 4
    yield one
    if one.holder.poll() is None:
        one.holder.kill()
    release(one.holder)


def test_normal_end(held: Held) -> None:
    assert held.holder.stdin is not None
    held.holder.stdin.close()
    assert held.holder.wait(30) == 0
    held.assert_clean()


def test_interrupt(held: Held) -> None:
    held.holder.send_signal(signal.SIGINT)
    held.holder.wait(30)
    held.assert_clean()


def test_sigkill_of_the_holder(held: Held) -> None:
    held.holder.kill()
    held.assert_clean()


def test_sigkill_of_the_supervisor(held: Held) -> None:
    os.kill(held.supervisor(), signal.SIGKILL)
    held.assert_clean()
    assert held.holder.poll() is None


def test_sigkill_of_the_process_between_guardian_and_supervisor(held: Held) -> None:
    parent = procfs.stat(held.supervisor())
    assert parent is not None
    os.kill(parent[1], signal.SIGKILL)  # unshare, or the subreaper
    held.assert_clean()


def test_sigkill_of_guardian_and_supervisor_then_the_next_start_sweeps(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    guardian = held.named("sh")[0]
    held.holder.send_signal(signal.SIGSTOP)  # it shall not help
    os.kill(guardian, signal.SIGSTOP)
    os.kill(held.supervisor(), signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    os.kill(guardian, signal.SIGCONT)
    for pid in held.named("unshare"):
        procfs.kill(pid)
    held.holder.kill()
    poll(lambda: directories(held.state_home / "slo-harness") != [], 5, "the directory is left")
    monkeypatch.setenv("XDG_STATE_HOME", str(held.state_home))
    poll(lambda: bool(sweep()), 5, "the sweep")
    held.assert_clean()


def test_an_orphan_that_nothing_marks_goes_too(mode: str, tmp_path: Path) -> None:
    held = Held(tmp_path, SMALL.replace("'600'])", "'600'], env={}, cwd='/')"))
    assert len(held.named("sleep")) == 1
    os.kill(held.supervisor(), signal.SIGKILL)
    held.assert_clean()
    held.holder.kill()
    release(held.holder)


def test_a_failed_test(tmp_path: Path) -> None:
    held = Held(tmp_path, SMALL, "--fail")
    assert held.holder.stdin is not None
    held.holder.stdin.close()
    assert held.holder.wait(30) == 1
    release(held.holder)
    held.assert_clean()


def test_a_start_that_fails(tmp_path: Path) -> None:
    stack = tmp_path / "stack.yaml"
    stack.write_text(
        SMALL.replace("  links:", "    wrong: {job: ['false'], needs: [postgres, redis, family]}\n  links:")
    )
    seen = observe(tmp_path / "state/slo-harness", cache_dir())
    holder = hold(stack, tmp_path / "state")
    try:
        while "family" not in seen.processes.values() and holder.poll() is None and len(seen.processes) < 10:
            seen.look(holder.pid)
        assert holder.wait(60) == 4
    finally:
        holder.kill()
        release(holder)
    assert len(seen.processes) >= 3
    assert wait_clean(seen)[1] == []


def test_sigkill_with_milvus_and_prometheus(tmp_path: Path) -> None:
    held = Held(tmp_path, STACK)
    assert held.named("milvus")
    held.holder.kill()
    held.assert_clean()
    release(held.holder)


def test_a_stack_without_lease_outlives_its_starter_and_goes_with_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(tmp_path, SMALL, "--no-lease")
    release(held.holder)
    monkeypatch.setenv("XDG_STATE_HOME", str(held.state_home))
    (running,) = list_running()
    assert running.id == held.told["ready"]
    held.seen.look(held.supervisor())
    assert held.seen.inodes
    down(running.id)
    held.assert_clean()
    assert list_running() == []
