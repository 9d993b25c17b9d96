"""`harness fault` on a small stack that stays up: begun, told, and undone however the command ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.faults.waiting import wait_for
from harness.stack.handle import Stack
from harness.stack.runtime import find_running
from tests.integration.helpers import harness

pytestmark = pytest.mark.stack

TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: by-hand}
spec:
  services: {redis: {use: redis}}
  links: {x->redis: {to: redis.resp}}
  target: redis.resp
"""
LATENCY = ("latency", "--link", "x->redis", "50ms", "--no-expect-traffic")


class Project:
    """A directory whose stack is up, and the environment of commands in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = {"XDG_STATE_HOME": str(directory / "state")}
        (directory / "stack.yaml").write_text(TEXT)
        done = harness("stack", "up", cwd=directory, env=self.env)
        assert done.returncode == 0, done.stderr
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", self.env["XDG_STATE_HOME"])
            found = find_running(directory / "stack.yaml")
        assert found is not None
        self.stack: Stack = found

    def fault(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return harness("fault", *arguments, cwd=self.directory, env=self.env)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness.cli.main", "fault", *arguments],
            cwd=self.directory, env={**os.environ, **self.env}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def in_force(self) -> list[str]:
        control = self.stack.links.connect()
        try:
            return [one["fault"] for one in control.ask("faults")["faults"]]
        finally:
            control.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    one = Project(tmp_path_factory.mktemp("by-hand"))
    yield one
    done = harness("stack", "down", cwd=one.directory, env=one.env)
    assert done.returncode == 0, done.stderr


def test_it_ends_on_time_and_says_how_it_was_seen(project: Project) -> None:
    done = project.fault(*LATENCY, "--for", "1500ms")
    assert done.returncode == 0, done.stderr
    begin, progress, end = done.stdout.splitlines()
    assert begin.startswith("latency on x->redis is in force: an echo took ")
    assert progress.strip() == "1s left" or progress.strip() == "0ns left"
    assert end.startswith("latency on x->redis is undone: it had ended by itself")
    assert project.in_force() == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_the_end_of_the_command_undoes_it(project: Project, signum: signal.Signals) -> None:
    with project.start(*LATENCY, "--json") as command:
        assert command.stdout is not None
        begin = json.loads(command.stdout.readline())
        assert (begin["kind"], begin["fault"], begin["edge"]) == ("fault", "latency", "begin")
        assert project.in_force() == ["latency"]
        assert json.loads(command.stdout.readline())["kind"] == "fault-progress"
        command.send_signal(signum)
        rest = command.stdout.read().splitlines()
        code = command.wait(30)
    assert wait_for(lambda: project.in_force() == [])
    if signum is signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        end = json.loads(rest[-1])
        assert (code, end["edge"]) == (0, "end")
        assert end["counters"]["delayed"] == 0


def test_what_nothing_met_is_an_error_though_undone(project: Project) -> None:
    done = project.fault("blackhole", "--link", "x->redis", "--for", "200ms")
    assert done.returncode == 4
    assert "is undone" in done.stdout
    assert "fault-without-effect" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("latency", "--link", "x->redsi", "50ms"), 2, ("link-unknown", "'x->redis'")),
        (("latency", "--link", "x->redis", "50 parsecs"), 2, ("fault-parameter", "delay", "50 parsecs")),
        (("latency", "--link", "x->redis", "5ms", "--jitter", "9ms"), 2, ("fault-parameter", "jitter")),
        (("latency", "--link", "x->redis", "5ms", "--for", "soon"), 2, ("fault-parameter", "lasting", "soon")),
        (("connection-limit", "--link", "x->redis", "many"), 2, ("fault-parameter", "limit", "many")),
        (("latenzy",), 2, ("fault-unknown", "'latency'")),
        (("latency", "--link", "x->redis", "5ms", "--stack", "nowhere.yaml"), 2, ("file-unreadable",)),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(
    project: Project, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    done = project.fault(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert all(word in done.stderr for word in (*words, "remedy: ")), done.stderr
    assert project.in_force() == []


def test_without_a_stack_it_says_how_to_start_one(project: Project, tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(TEXT)
    done = harness("fault", *LATENCY, cwd=tmp_path, env=project.env)
    assert done.returncode == 2
    assert "stack-not-up" in done.stderr and "harness stack up" in done.stderr
