"""The private engine: passes on what its command says, keeps to itself, and leaves nothing, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest

from harness.stack.docker.images import image_of
from tests.docker import engine

ROOT = Path(__file__).parents[2]
_WAIT_S = 120.0


def _words(*command: str, images: bool = False) -> list[str]:
    return [sys.executable, "-m", "tests.docker.engine", *([] if images else ["--bare"]), "--", *command]


def _started(script: str, *, images: bool = False) -> subprocess.Popen[str]:
    """An engine whose command writes the engine's directory, and goes on with a script."""
    words = _words("sh", "-c", f'echo "$SLO_ENGINE"; {script}', images=images)
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _gone(root: Path) -> bool:
    """Whether the engine's directory goes in time; whoever is to remove it holds its lock until then."""
    deadline = time.monotonic() + _WAIT_S
    while root.exists() and time.monotonic() < deadline:
        time.sleep(0.05)  # a lock could be awaited, but not for so long and no longer
    return not root.exists()


def test_the_network_of_an_engine_has_no_way_out() -> None:
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    assert routes, "the engine's own bridge has a route"
    assert "00000000" not in {destination for _, destination, *_ in routes}


def test_the_code_of_the_command_is_that_of_the_engine() -> None:
    assert subprocess.run(_words("sh", "-c", "exit 3"), cwd=ROOT, timeout=_WAIT_S, check=False).returncode == 3
    assert subprocess.run(_words("no-such-command"), cwd=ROOT, timeout=_WAIT_S, check=False).returncode == 127


def test_two_engines_know_nothing_of_each_other() -> None:
    one, other = _started("exec sleep 600"), _started("docker volume create only-here; docker volume ls -q")
    roots = {_first_line(one), _first_line(other)}
    assert len(roots) == 2
    assert other.stdout is not None
    assert "only-here" in other.stdout.read()  # communicate() would not see what came along with the first line
    other.wait(_WAIT_S)
    subprocess.run(_words("true"), cwd=ROOT, timeout=_WAIT_S, check=True)  # which looks for dead ones
    assert one.poll() is None
    assert sum(Path(root).exists() for root in roots) == 1, "that of the one that is in use"
    one.send_signal(signal.SIGTERM)
    one.wait(_WAIT_S)
    assert all(_gone(Path(root)) for root in roots)
    assert docker.from_env().volumes.list(filters={"name": "only-here"}) == []


def test_a_signal_reaches_the_command() -> None:
    process = _started("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
    root = Path(_first_line(process))
    assert _first_line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert process.wait(_WAIT_S) == 9
    assert not root.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_an_engine_whose_caller_was_killed(number: signal.Signals) -> None:
    process = _started(f"docker run --detach {image_of('redis')} >&2; echo ready; exec sleep 600", images=True)
    root = Path(_first_line(process))
    assert _first_line(process) == "ready"
    assert engine.groups(root), "the container has a control group"
    seen = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"--data-root={root}/data" in seen
    process.send_signal(number)
    process.wait(_WAIT_S)
    assert _gone(root)
    seen = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(root) not in seen
    assert not engine.groups(root)
    assert str(root) not in Path("/proc/mounts").read_text()


def test_the_directory_of_one_whose_every_process_was_killed_goes_with_the_next_start() -> None:
    dead = engine.engines_dir() / "slo-engine-dead"
    (dead / "data").mkdir(parents=True)
    group = next(path for path in Path("/sys/fs/cgroup").glob("**/cgroup.procs")).parent / dead.name
    (group / "container").mkdir(parents=True)
    subprocess.run(_words("true"), cwd=ROOT, timeout=_WAIT_S, check=True)
    assert not dead.exists()
    assert not group.exists()


def test_who_cannot_have_an_engine_is_told_why_and_in_ci_that_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("CI", raising=False)
    assert engine.main(["--bare", "--", "true"]) == engine.SKIPPED
    assert "skipped: no Docker engine of our own can run here: only root may" in capsys.readouterr().err
    monkeypatch.setenv("CI", "true")
    assert engine.main(["--bare", "--", "true"]) == 1
    assert capsys.readouterr().err.startswith("failed: ")


def test_an_engine_that_does_not_get_ready_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dockerd = tmp_path / "dockerd"
    dockerd.write_text("#!/bin/sh\necho there is no engine in here >&2\nexit 1\n")
    dockerd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CI", raising=False)
    started = time.monotonic()
    assert engine.main(["--bare", "--", "true"]) == engine.SKIPPED
    assert time.monotonic() - started < _WAIT_S
    assert "there is no engine in here" in capfd.readouterr().err
