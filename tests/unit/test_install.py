"""The installer where it needs neither network nor large files: asking, locking, unpacking, failing clean."""

from __future__ import annotations

import fcntl
import lzma
import shutil
import threading
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.stack.install import install, table
from harness.stack.install_apt import DebianPlan, Package, PrivateApt, _parse_uri
from harness.stack.install_jobs import debian_job, question
from harness.stack.install_place import into
from harness.stack.install_wheel import WheelPlan, unpack_wheel
from harness.stack.tools import tools_dir, wheel_root
from harness.stack.toolspec import DebianSource, WheelSource, tool_table

MILVUS = tool_table()["milvus"]
REDIS = tool_table()["redis-server"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tools_dir()


def wheel(module: Path, **files: bytes) -> WheelPlan:
    (module / "bin").mkdir(parents=True)
    (module / "glog.conf").write_text("settings")
    for name, content in files.items():
        (module / "bin" / f"{name}.lzma").write_bytes(content)
    source = WheelSource("milvus", "milvus", data="bin", beside=("glog.conf",))
    return WheelPlan(MILVUS.kit, source, "1.0", module, 1)


def test_a_no_leaves_the_cache_empty_and_asks_once(cache: Path) -> None:
    asked: list[str] = []
    with pytest.raises(HarnessError) as caught:
        install([MILVUS], confirm=lambda text: bool(asked.append(text)), progress=lambda line: None)
    assert (caught.value.slug, caught.value.outcome) == ("install-declined", Outcome.NOT_VALIDATED)
    assert len(asked) == 1 and "Milvus" in asked[0] and "MB" in asked[0] and str(cache) in asked[0]
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_nothing_is_asked_when_all_is_there(cache: Path) -> None:
    assert isinstance(MILVUS.kit.source, WheelSource)
    root = wheel_root(MILVUS.kit.source)
    assert root is not None
    root.mkdir(parents=True)
    (root / "milvus").write_bytes(b"\x7fELF")
    (root / "milvus").chmod(0o755)
    said: list[str] = []
    assert install([MILVUS], confirm=lambda text: pytest.fail("asked"), progress=said.append) == []
    assert said == ["nothing to fetch: all of it is there"]


@pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt, as on Debian and Ubuntu")
def test_the_question_names_packages_and_sizes(tmp_path: Path) -> None:
    assert isinstance(REDIS.kit.source, DebianSource)
    packages = (Package("redis-tools", "5:7.0.15-1", 991_988), Package("redis-server", "5:7.0.15-1", 73_908))
    plan = DebianPlan(REDIS.kit, REDIS.kit.source, packages)
    apt = PrivateApt(tmp_path, lambda line: None)
    asked = question([debian_job(apt, plan, lambda line: None)])
    assert "fetch 2 Debian packages for Redis (1 MB): redis-tools, redis-server" in asked
    assert plan.version == "7.0.15-1"  # an epoch's colon would split LD_LIBRARY_PATH


def test_without_apt_the_error_says_so_and_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    both = [REDIS, tool_table()["prometheus"]]
    (failure,) = install(both, confirm=lambda text: pytest.fail("asked"), progress=lambda line: None)
    assert (failure.slug, failure.outcome) == ("install-failed", Outcome.NOT_VALIDATED)
    assert "no apt-get" in failure.cause and "on PATH" in failure.remedy


def test_a_cache_that_cannot_be_written_is_a_located_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(HarnessError) as caught:
        install([MILVUS], confirm=lambda text: True, progress=lambda line: None)
    assert caught.value.slug == "install-failed" and str(tmp_path / "file") in caught.value.cause


def test_a_cache_whose_path_would_split_the_library_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a:b"))
    with pytest.raises(HarnessError, match="install-failed"):
        install([MILVUS], confirm=lambda text: True, progress=lambda line: None)


def test_a_second_installer_waits_for_the_first(cache: Path) -> None:
    cache.mkdir(parents=True)
    waiting, asked = threading.Event(), threading.Event()

    def second() -> None:
        with pytest.raises(HarnessError, match="install-declined"):
            install([MILVUS], confirm=lambda text: asked.set() or False, progress=lambda line: waiting.set())

    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        assert not asked.wait(0.3)  # long enough for one that does not wait to get to its question
    thread.join(10)
    assert asked.is_set()


def test_what_a_killed_installer_left_is_removed(cache: Path) -> None:
    (cache / ".unpacking-abc" / "half").mkdir(parents=True)
    with pytest.raises(HarnessError, match="install-declined"):
        install([MILVUS], confirm=lambda text: False, progress=lambda line: None)
    assert not (cache / ".unpacking-abc").exists()


def test_a_directory_appears_whole_or_not_at_all(cache: Path) -> None:
    cache.mkdir(parents=True)
    final = cache / "debian" / "redis-7"
    with pytest.raises(ValueError, match="interrupted"), into(final) as root:
        (root / "half").write_text("")
        raise ValueError("interrupted")
    assert not final.exists()
    for content in ("old", "new"):
        with into(final) as root:
            (root / content).write_text("")
    assert [path.name for path in final.iterdir()] == ["new"]
    assert not list(cache.glob(".unpacking-*"))


def test_a_wheel_is_unpacked_executable_with_the_files_beside_it(tmp_path: Path) -> None:
    plan = wheel(tmp_path / "module", milvus=lzma.compress(b"program"), libx=lzma.compress(b"library"))
    root = tmp_path / "root"
    root.mkdir()
    unpack_wheel(plan, root)
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {
        "milvus": b"program",
        "libx": b"library",
        "glog.conf": b"settings",
    }
    assert (root / "milvus").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [b"not compressed at all", lzma.compress(b"x" * 999)[:-20]])
def test_a_damaged_wheel_is_named(tmp_path: Path, content: bytes) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(HarnessError, match=r"install-failed: the files of the wheel milvus are damaged"):
        unpack_wheel(wheel(tmp_path / "module", milvus=content), root)


def test_apt_lines_are_read_with_epoch_and_size() -> None:
    line = "'mirror/redis-tools_7.0_amd64.deb' redis-tools_5%3a7.0.15-1~deb12u10_amd64.deb 991988 SHA256:ab"
    assert _parse_uri(line) == Package("redis-tools", "5:7.0.15-1~deb12u10", 991988)
    assert _parse_uri("Reading package lists...") is None


def test_the_table_has_a_row_for_every_program_and_a_remedy_for_what_is_missing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLO_HARNESS_TOOL_PROMETHEUS", "/bin/true")
    monkeypatch.setenv("SLO_HARNESS_TOOL_PROMTOOL", "/nowhere/promtool")
    mine = cache / "redis-server"
    mine.parent.mkdir(parents=True)
    shutil.copy("/bin/true", mine)
    monkeypatch.setenv("SLO_HARNESS_TOOL_REDIS_SERVER", str(mine))
    monkeypatch.setenv("HOME", str(cache.parent))
    rows = {row[0]: row[1:] for row in table()}
    assert list(rows) == list(tool_table())
    assert rows["milvus"][1] == "missing" and "harness stack install --yes" in rows["milvus"][2]
    assert rows["prometheus"][1:] == ("override", "/bin/true") and rows["prometheus"][0][0].isdigit()
    assert rows["redis-server"][1:] == ("override", "~/tools/redis-server")
    assert rows["promtool"][1] == "bad-tool-override"
