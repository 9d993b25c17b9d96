"""The files of a stand-in image: what a program is linked with comes along, and the same files are the same bytes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.docker import template
from tests.docker.standins import STANDINS
from tests.docker.tree import NotHere, Tree, linked, on_path


def _packed(tree: Tree) -> tarfile.TarFile:
    file = io.BytesIO()
    tree.write(file)
    file.seek(0)
    return tarfile.open(fileobj=file)


def _tree(directory: Path) -> Tree:
    tree = Tree({"someone": 1234})
    tree.program("/usr/bin/sh", on_path("sh"))
    tree.files("/share", directory, without=("*.no",))
    tree.directory("/data", mode=0o1777, owner=1234)
    tree.directory("/data/below")
    return tree


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "kept").write_text("kept")
    (tmp_path / "deep" / "left.no").write_text("left out")
    return tmp_path


def test_a_program_brings_the_libraries_and_the_loader_that_it_names(directory: Path) -> None:
    names = set(_packed(_tree(directory)).getnames())
    needed = linked(on_path("sh"))
    assert needed, "the shell of this machine is linked with something"
    for name, path in needed.items():
        wanted = Path(name).name if name.startswith("/") else name
        assert any(one.startswith("usr/lib") and one.endswith(f"/{wanted}") for one in names), path


def test_modes_owners_and_users_are_as_told(directory: Path) -> None:
    packed = _packed(_tree(directory))
    data, shell = packed.getmember("data"), packed.getmember("usr/bin/sh")
    assert (data.mode, data.uid, data.isdir()) == (0o1777, 1234, True), "and not as a parent of what is below it"
    assert shell.mode == 0o755
    assert packed.getmember("bin").linkname == "usr/bin"
    passwd = packed.extractfile("etc/passwd")
    assert passwd is not None
    assert "someone:x:1234:1234:" in passwd.read().decode()
    assert "share/deep/kept" in packed.getnames()
    assert "share/deep/left.no" not in packed.getnames()


def test_the_same_files_are_the_same_bytes_whenever_they_were_written(directory: Path) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    _tree(directory).write(first)
    (directory / "deep" / "kept").touch()
    _tree(directory).write(second)
    assert first.getvalue() == second.getvalue()


def test_what_is_not_on_this_machine_is_named() -> None:
    with pytest.raises(NotHere, match="no-such-program on PATH"):
        on_path("no-such-program")


def test_an_image_is_configured_as_its_standin_says() -> None:
    told = STANDINS["postgres"].config("postgres 15", "0" * 64)
    assert told["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}
    assert told["config"]["Entrypoint"] == ("docker-entrypoint.sh",)
    assert told["config"]["StopSignal"] == "SIGINT"
    assert "PGDATA=/var/lib/postgresql/data" in told["config"]["Env"]
    assert "StopSignal" not in STANDINS["redis"].config("redis 7", "0" * 64)["config"]


def test_images_of_a_data_root_are_shared_and_nothing_else_of_it_is_taken(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for part in ("image", "overlay2", "containers"):
        (source / part).mkdir(parents=True)
        (source / part / "file").write_text(part)
    template.copy(source, target)
    assert sorted(path.name for path in target.iterdir()) == ["image", "overlay2"]
    assert (target / "overlay2/file").samefile(source / "overlay2/file")
    assert not (target / "image/file").samefile(source / "image/file"), "the engine writes these anew"
