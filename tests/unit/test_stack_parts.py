"""The parts of the local runtime that need no service: ports, rendering, artefacts, environment, overrides."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.model.stackfile import load_stackfile
from harness.stack import procfs
from harness.stack.artefacts import Build, artefact_paths
from harness.stack.layout import Layout
from harness.stack.ports import BLOCK, PortBlock, ephemeral_start, fixed_port, is_free
from harness.stack.runtime import up
from harness.stack.units import ending, tail

ROOT = Path(__file__).parent.parent.parent


def test_two_blocks_never_share_a_port_and_lie_below_the_ephemeral_range() -> None:
    first, second = PortBlock.reserve(3), PortBlock.reserve(3)
    try:
        mine, theirs = {first.take() for _ in range(3)}, {second.take() for _ in range(3)}
        assert first.start != second.start
        assert not mine & theirs
        assert max(mine | theirs) < ephemeral_start()
    finally:
        first.close()
        second.close()


def test_a_port_in_use_is_left_out_of_a_block() -> None:
    block = PortBlock.reserve(1)
    taken = block.take()
    block.close()
    with socket.create_server(("127.0.0.1", taken)):
        again = PortBlock.reserve(1)
        try:
            assert taken not in [again.take() for _ in range(10)]
        finally:
            again.close()


def test_more_ports_than_a_block_has_are_refused() -> None:
    with pytest.raises(HarnessError) as refused:
        PortBlock.reserve(BLOCK + 1)
    assert refused.value.slug == "no-ports"


def test_a_fixed_port_that_is_taken_names_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(HarnessError) as taken:
            fixed_port("web", "http", port)
    name = (procfs.PROC / "self/comm").read_text().strip()
    assert taken.value.slug == "port-taken"
    assert f"port {port}" in taken.value.cause
    assert name in taken.value.cause
    assert fixed_port("web", "http", port) == port


ARTEFACT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: tiny}
spec:
  services: {redis: {use: redis}}
  artefacts: {data: {command: [make, "${dir}"], inputs: [one.txt, "more/*.txt"]}}
  target: redis.resp
"""


def paths_of(stack: Path) -> Path:
    file, document = load_stackfile(stack)
    return artefact_paths(file, document, stack.parent)["data"]


def test_an_artefact_is_another_when_any_input_or_its_command_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stack, more = tmp_path / "stack.yaml", tmp_path / "more"
    stack.write_text(ARTEFACT)
    more.mkdir()
    (tmp_path / "one.txt").write_text("1")
    (more / "two.txt").write_text("2")
    seen = [paths_of(stack)]
    assert paths_of(stack) == seen[0]
    (more / "two.txt").write_text("3")
    seen.append(paths_of(stack))
    (more / "three.txt").write_text("")
    seen.append(paths_of(stack))
    stack.write_text(ARTEFACT.replace("make", "build"))
    seen.append(paths_of(stack))
    assert len(set(seen)) == 4
    (tmp_path / "one.txt").unlink()
    with pytest.raises(UsageError) as missing:
        paths_of(stack)
    assert missing.value.slug == "file-missing"
    assert "stack.yaml:6:" in missing.value.render()


def test_one_builds_at_a_time_and_half_an_artefact_is_never_seen(tmp_path: Path) -> None:
    target = tmp_path / "artefacts" / "data-1"
    target.parent.mkdir()
    first, second = Build("data", target, tmp_path / "a"), Build("data", target, tmp_path / "b")
    assert first.acquire()
    assert not second.acquire()
    (first.directory / "part").touch()
    assert not target.exists()
    first.finish()
    first.close()
    assert (target / "part").exists()
    assert second.acquire()
    second.close()
    assert not second.directory.exists()


def test_services_get_a_clean_environment_and_filled_placeholders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    file, _ = load_stackfile(ROOT / "stack.yaml")
    ports = {
        name: {port: 20_000 + at for at, port in enumerate(one.port_names)} for name, one in file.spec.services.items()
    }
    layout = Layout(file, ROOT, tmp_path / "abc", ports, dict.fromkeys(file.spec.links, 21_000), {"corpus": Path("/c")})
    env = layout.base_env("app", "/venv/bin/python")
    assert "SECRET_OF_THE_CALLER" not in env
    assert env["PATH"].startswith("/venv/bin:")
    assert env["HOME"] == str(tmp_path / "abc")
    values = layout.values("app")
    assert values["address:milvus.metrics"] == "127.0.0.1:20001"
    assert values["link:app->milvus"] == "127.0.0.1:21000"
    assert values["dir"] == str(tmp_path / "abc/app")
    assert values["scale"] == "15"
    assert values["artefact:corpus"] == "/c"


def test_an_override_for_a_service_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        up(ROOT / "stack.yaml", lease=True, emit=print, overrides={"ap": {"X": "1"}})
    assert refused.value.slug == "override-unknown"


def test_endings_and_tails_are_readable(tmp_path: Path) -> None:
    assert ending(3) == "ended with exit code 3"
    assert ending(-9) == "was killed by SIGKILL"
    log = tmp_path / "log"
    log.write_bytes(b"first\n" + b"x" * 1000 + b"\n\x1b[31mred\xff\n")
    lines = tail(log, 2).split("\n")
    assert lines[0] == "x" * 300 + "..."
    assert lines[1] == "[31mred\ufffd"
    assert tail(tmp_path / "none") == ""
