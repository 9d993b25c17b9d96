"""Where programs are found, and what is said when they are not."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.stack import tools
from harness.stack.tools import (
    find_on_machine,
    go_dir,
    missing_tools,
    named_tools,
    newest_first,
    resolve_tool,
    tool_version,
)
from harness.stack.toolspec import DebianSource, GoSource, tool_table


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with an empty PATH, no well-known places and an empty cache; gives the directory on PATH."""
    on_path = tmp_path / "bin"
    on_path.mkdir()
    for spec in tool_table().values():
        monkeypatch.delenv(spec.override, raising=False)
    table = {name: replace(spec, places=()) for name, spec in tool_table().items()}
    monkeypatch.setattr(tools, "tool_table", lambda: table)
    monkeypatch.setenv("PATH", str(on_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield on_path


def program(path: Path) -> Path:
    """A real program that prints a version and ends with 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy("/bin/true", path))


def test_a_program_on_path_is_taken_as_it_is(bare: Path) -> None:
    program(bare / "redis-server")
    tool = resolve_tool("redis-server")
    assert (tool.path, tool.source, dict(tool.env)) == (bare / "redis-server", "path", {})


def test_what_is_nowhere_is_named_with_its_package_and_the_command_that_installs_it() -> None:
    with pytest.raises(HarnessError) as caught:
        resolve_tool("redis-server")
    error = caught.value
    assert (error.slug, error.outcome) == ("missing-binary", Outcome.NOT_VALIDATED)
    assert "redis-server" in error.cause and "Debian package redis-server" in error.cause
    assert "harness stack install --yes" in error.remedy and "SLO_HARNESS_TOOL_REDIS_SERVER" in error.remedy


def test_a_script_on_path_is_passed_over_for_the_program_behind_it(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = bare / "redis-server"
    wrapper.write_text("#!/bin/sh\nexec something-else\n")
    wrapper.chmod(0o755)
    real = program(bare.parent / "real" / "redis-server")
    monkeypatch.setenv("PATH", f"{bare}{os.pathsep}{real.parent}")
    assert resolve_tool("redis-server").path == real


def test_what_cannot_be_executed_is_passed_over(bare: Path) -> None:
    program(bare / "redis-server").chmod(0o644)
    (bare / "prometheus").mkdir()
    assert {"redis-server", "prometheus"} <= {spec.name for spec in missing_tools()}


def test_postgres_counts_only_together_with_its_initdb(bare: Path) -> None:
    program(bare / "postgres")
    with pytest.raises(HarnessError, match="missing-binary"):
        resolve_tool("postgres")
    program(bare / "initdb")
    assert resolve_tool("postgres").path.parent == resolve_tool("initdb").path.parent == bare


def test_a_link_on_path_leads_to_the_directory_with_both(bare: Path) -> None:
    home = bare.parent / "postgresql" / "15" / "bin"
    (bare / "postgres").symlink_to(program(home / "postgres"))
    program(home / "initdb")
    assert resolve_tool("postgres").path == home / "postgres"


def test_a_program_that_goes_by_the_name_it_is_called_keeps_that_name(bare: Path) -> None:
    program(bare / "redis-check-rdb")
    (bare / "redis-server").symlink_to("redis-check-rdb")
    assert resolve_tool("redis-server").path == bare / "redis-server"


@pytest.mark.parametrize("binary", ["alertmanager", "prometheus-alertmanager"])
def test_a_program_is_found_under_its_own_name_and_under_the_one_that_distributions_give_it(
    bare: Path, binary: str
) -> None:
    program(bare / binary)
    assert resolve_tool("alertmanager").path == bare / binary


def test_in_well_known_places_the_newest_version_wins(tmp_path: Path) -> None:
    for version in ("9.6", "15", "16"):
        program(tmp_path / version / "bin" / "postgres")
        if version != "16":
            program(tmp_path / version / "bin" / "initdb")
    spec = replace(tool_table()["postgres"], places=(f"{tmp_path}/*/bin",))
    found = find_on_machine(spec)
    assert found is not None and found.path == tmp_path / "15" / "bin" / "postgres"


def test_the_override_beats_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare / "prometheus")
    mine = program(bare.parent / "mine" / "prometheus-dev")
    monkeypatch.setenv("SLO_HARNESS_TOOL_PROMETHEUS", str(mine))
    tool = resolve_tool("prometheus")
    assert (tool.path, tool.source) == (mine, "override")


def test_initdb_follows_the_postgres_that_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "initdb"):
        program(bare / name)
        program(bare.parent / "mine" / name)
    monkeypatch.setenv("SLO_HARNESS_TOOL_POSTGRES", str(bare.parent / "mine" / "postgres"))
    assert resolve_tool("initdb").path == bare.parent / "mine" / "initdb"


def test_an_override_that_cannot_be_run_is_an_error_not_a_reason_to_look_on(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bare / "prometheus")
    monkeypatch.setenv("SLO_HARNESS_TOOL_PROMETHEUS", str(bare / "nothing"))
    with pytest.raises(UsageError) as caught:
        resolve_tool("prometheus")
    assert caught.value.slug == "bad-tool-override"
    assert f"SLO_HARNESS_TOOL_PROMETHEUS={bare / 'nothing'}" in caught.value.cause


def test_from_the_cache_the_newest_comes_with_its_own_libraries() -> None:
    for version in ("7.0.9-1", "7.0.15-1"):
        root = tools.debian_dir() / f"redis-{version}"
        program(root / "usr/bin/redis-server")
        (root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    tool = resolve_tool("redis-server")
    assert (tool.path, tool.source) == (root / "usr/bin/redis-server", "debian")
    assert dict(tool.env) == {"LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu")}


def test_a_cache_that_may_not_be_read_is_told_and_is_not_an_empty_one() -> None:
    program(tools.debian_dir() / "redis-7.0.15-1" / "usr/bin/redis-server")
    tools.tools_dir().chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(HarnessError) as caught:
            resolve_tool("redis-server")
    finally:
        if root:
            os.seteuid(0)
        tools.tools_dir().chmod(0o755)
    error = caught.value
    assert (error.slug, error.outcome) == ("cache-unreadable", Outcome.NOT_VALIDATED)
    assert str(tools.tools_dir()) in error.cause and "XDG_CACHE_HOME" in error.remedy
    assert resolve_tool("redis-server").source == "debian"


def test_path_comes_before_the_cache(bare: Path) -> None:
    program(tools.debian_dir() / "redis-7.0.15-1" / "usr/bin/redis-server")
    program(bare / "redis-server")
    assert resolve_tool("redis-server").source == "path"


def test_milvus_is_the_unpacked_wheel_and_never_something_else_on_path(bare: Path) -> None:
    program(bare / "milvus")
    assert [spec.name for spec in missing_tools(["milvus"])] == ["milvus"]
    root = tools.wheel_root(tool_table()["milvus"].kit.source)  # type: ignore[arg-type]
    assert root is not None
    program(root / "milvus")
    tool = resolve_tool("milvus")
    assert (tool.path, tool.source, dict(tool.env)) == (root / "milvus", "wheel", {"LD_LIBRARY_PATH": str(root)})
    assert root.name == f"milvus-{tool_version(tool)}"


def test_what_was_compiled_is_found_under_the_version_that_go_mod_pins_and_no_other() -> None:
    kit = tool_table()["loki"].kit
    assert isinstance(kit.source, GoSource)
    pinned = go_dir(kit, kit.source)
    program(pinned.with_name("loki-2.9.0") / "loki")
    with pytest.raises(HarnessError, match=r"missing-binary(.|\n)*Go package github.com/grafana/loki/v3/cmd/loki"):
        resolve_tool("loki")
    program(pinned / "loki")
    tool = resolve_tool("loki")
    assert (tool.path, tool.source, dict(tool.env)) == (pinned / "loki", "go", {})
    assert pinned.name.startswith("loki-3.")


def test_tools_are_named_by_their_own_name_or_that_of_their_kit() -> None:
    assert [spec.name for spec in named_tools(["postgresql", "loki", "initdb"])] == ["postgres", "initdb", "loki"]
    assert [spec.name for spec in named_tools([])] == list(tool_table())
    with pytest.raises(UsageError, match="no tool is called 'lokki'"):
        named_tools(["loki", "lokki"])


def test_missing_tools_asks_for_the_whole_table_or_for_the_names_given(bare: Path) -> None:
    program(bare / "redis-server")
    assert [spec.name for spec in missing_tools()] == [name for name in tool_table() if name != "redis-server"]
    assert [spec.name for spec in missing_tools(["redis-server", "promtool"])] == ["promtool"]


def test_a_name_that_is_not_in_the_table_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"unknown-tool(.|\n)*redis-server"):
        resolve_tool("redis")


def test_the_version_is_the_first_line_that_the_program_prints(bare: Path) -> None:
    program(bare / "redis-server")
    assert "coreutils" in tool_version(resolve_tool("redis-server"))


def test_of_several_programs_of_one_name_the_one_that_says_what_it_is_counts(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, silent, real = bare, bare.parent / "silent", bare.parent / "real"
    shutil.copy("/bin/echo", program(other / "loki"))  # what it prints is what it is asked
    shutil.copy("/bin/false", program(silent / "loki"))
    shutil.copy("/bin/echo", program(real / "loki"))
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{silent}")
    asked = tool_table()["loki"]
    assert find_on_machine(replace(asked, places=())) is None
    said = replace(asked, places=(str(real),), version=("loki, version 3.7.8",))
    monkeypatch.setenv("PATH", str(silent))
    found = find_on_machine(said)
    assert found is not None and found.path == real / "loki"


def test_a_program_that_says_nothing_when_it_fails_is_broken_all_the_same(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("/bin/false", program(bare / "redis-server"))
    silent = replace(tool_table()["redis-server"], places=(), version=("-v",))
    monkeypatch.setattr(tools, "tool_table", lambda: {"redis-server": silent})
    with pytest.raises(HarnessError, match=r"broken-binary: .*redis-server does not run: .*exit status 1"):
        tool_version(resolve_tool("redis-server"))


def test_a_program_that_does_not_run_is_broken_not_missing(bare: Path) -> None:
    (bare / "redis-server").write_bytes(b"\x7fELF nothing more")
    (bare / "redis-server").chmod(0o755)
    with pytest.raises(HarnessError) as caught:
        tool_version(resolve_tool("redis-server"))
    assert caught.value.slug == "broken-binary" and str(bare / "redis-server") in caught.value.cause


def test_versions_are_compared_as_numbers() -> None:
    names = ["a-9.6", "a-15", "a-16.1", "a-16.10-2", "a-16.10-1"]
    assert [path.name for path in newest_first(map(Path, names))] == [
        "a-16.10-2",
        "a-16.10-1",
        "a-16.1",
        "a-15",
        "a-9.6",
    ]


def test_the_table_pins_no_version_and_names_no_address() -> None:
    text = Path(tools.__file__).with_name("tools.toml").read_text()
    assert "://" not in text
    for kit in tomllib.loads(text)["kit"].values():
        packages = kit.get("debian", {}).get("packages", ())
        assert not any(character.isdigit() for package in packages for character in package)


@pytest.mark.parametrize(
    ("kit", "package", "taken"),
    [
        ("postgres", "postgresql-17", True),
        ("postgres", "libicu72", True),
        ("postgres", "postgresql", False),
        ("postgres", "postgresql-common", False),
        ("postgres", "postgresql-17-jit", False),
        ("postgres", "libllvm14", False),
        ("postgres", "libc6", False),
        ("redis-server", "redis-tools", True),
        ("redis-server", "libjemalloc2", True),
        ("redis-server", "lsb-base", False),
        ("prometheus", "prometheus", True),
        ("prometheus", "libjs-jquery", False),
        ("prometheus", "prometheus-node-exporter", False),
        ("alertmanager", "prometheus-alertmanager", True),
        ("alertmanager", "tzdata", False),
        ("postgres-exporter", "daemon", False),
        ("redis-exporter", "adduser", False),
    ],
)
def test_of_what_apt_names_programs_and_libraries_are_taken(kit: str, package: str, taken: bool) -> None:
    source = tool_table()[kit].kit.source
    assert isinstance(source, DebianSource)
    assert source.wants(package) is taken
