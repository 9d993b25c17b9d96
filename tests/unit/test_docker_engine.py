"""The client of a Docker engine against a real socket that answers, or does not answer as an engine would."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.stack.docker import labels
from harness.stack.docker.engine import Engine
from harness.stack.docker.hosts import DEFAULT, Host, find_host
from tests.fake_engine import FakeEngine, fake_engine


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
def engine(fake: FakeEngine) -> Engine:
    return Engine(Host(fake.url))


def test_the_engine_is_found_by_docker_host_and_asked_in_the_version_both_speak(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    engine = Engine.find()
    assert (engine.host, engine.version, engine._prefix) == (fake.url, "20.10.24", "/v1.41")
    fake.api = "1.52"
    assert Engine.find()._prefix == "/v1.44"


def test_the_engine_is_looked_for_where_dockers_command_line_does(tmp_path: Path) -> None:
    config = tmp_path / ".docker"
    home = {"HOME": str(tmp_path)}
    assert find_host(home).url == DEFAULT  # nothing is configured
    place = config / "contexts/meta" / hashlib.sha256(b"far").hexdigest()
    place.mkdir(parents=True)
    (place / "meta.json").write_text(json.dumps({"Name": "far", "Endpoints": {"docker": {"Host": "tcp://10.0.0.9:1"}}}))
    (config / "config.json").write_text(json.dumps({"currentContext": "far"}))
    assert find_host(home).url == "tcp://10.0.0.9:1"
    assert find_host(home | {"DOCKER_CONTEXT": "default"}).url == DEFAULT
    assert find_host(home | {"DOCKER_HOST": "unix:///x.sock"}).url == "unix:///x.sock"
    with pytest.raises(HarnessError, match="near") as raised:
        find_host(home | {"DOCKER_CONTEXT": "near"})
    assert raised.value.slug == "engine-unreachable"
    (tmp_path / ".testcontainers.properties").write_text("ryuk.disabled=true\ntc.host = unix:///tc.sock\n")
    assert find_host(home | {"DOCKER_HOST": "unix:///x.sock"}).url == "unix:///tc.sock"
    (tmp_path / ".testcontainers.properties").unlink()
    with pytest.raises(HarnessError, match="only unix:// and tcp://"):
        find_host(home | {"DOCKER_HOST": "ssh://user@far"})
    with pytest.raises(HarnessError, match="certificates"):
        (config / "cert.pem").write_text("none")
        find_host(home | {"DOCKER_HOST": "tcp://10.0.0.9:1", "DOCKER_TLS_VERIFY": "1"})


def test_no_engine_is_not_validated_and_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(HarnessError, match=r"none\.sock.*DOCKER_HOST") as raised:
        Engine.find()
    assert (raised.value.slug, raised.value.outcome) == ("engine-unreachable", Outcome.NOT_VALIDATED)


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
def test_what_is_no_engine_is_told_as_one_that_does_not_answer(fake: FakeEngine, engine: Engine, raw: bytes) -> None:
    fake.raw = raw
    with pytest.raises(HarnessError) as raised:
        engine.ping()
    assert raised.value.slug == "engine-lost"


def test_an_answer_that_is_not_json_and_one_that_is_an_error_are_told(fake: FakeEngine, engine: Engine) -> None:
    fake.answers["GET", "/version"] = (200, b"{")
    with pytest.raises(HarnessError) as raised:
        engine.call("GET", "/version")
    assert raised.value.slug == "engine-lost"
    fake.answers["GET", "/version"] = (500, {"message": "no space left"})
    with pytest.raises(HarnessError, match="500: no space left") as raised:
        engine.call("GET", "/version")
    assert raised.value.slug == "engine-refused"
    assert engine.request("GET", "/version") == (500, {"message": "no space left"})


def test_images_are_looked_up_and_pulled(fake: FakeEngine, engine: Engine) -> None:
    fake.images, fake.registry = {"here:1"}, {"far/there:2"}
    assert (engine.image("here:1") or {})["Id"] == "sha256:here:1"
    assert engine.image("far/there:2") is None
    assert engine.can_pull("far/there:2") == ""
    assert engine.can_pull("nowhere:3") == "no nowhere:3 in registry"
    told: list[str] = []
    engine.pull("far/there:2", lambda step: told.append(step["status"]))
    assert told == ["Pulling from library", "Downloading", "Pull complete"]
    assert engine.image("far/there:2") is not None
    with pytest.raises(HarnessError, match=r"nowhere:3.*not found") as raised:
        engine.pull("nowhere:3")
    assert (raised.value.slug, raised.value.outcome) == ("image-unavailable", Outcome.NOT_VALIDATED)


def test_things_are_found_by_label_and_removed_even_twice(fake: FakeEngine, engine: Engine) -> None:
    ours, others = {labels.STACK: "a"}, {labels.STACK: "b"}
    fake.things["containers"] = [{"Id": "c1", "Labels": ours}, {"Id": "c2", "Labels": others}]
    fake.things["networks"] = [{"Id": "n1", "Labels": ours}]
    fake.things["volumes"] = [{"Name": "v1", "Labels": ours}]
    mine = [f"{labels.STACK}=a"]
    assert [one["Id"] for one in engine.containers(mine)] == ["c1"]
    assert len(engine.containers([labels.STACK])) == 2
    for _ in range(2):
        engine.remove_container("c1")
        engine.remove_network("n1")
        engine.remove_volume("v1")
    assert not engine.containers(mine) and not engine.networks(mine) and not engine.volumes(mine)
    assert len(engine.containers([labels.STACK])) == 1


def test_only_an_owner_of_this_boot_and_namespace_that_is_gone_is_dead() -> None:
    assert labels.labels("s") == {labels.STACK: "s", labels.OWNER: labels.owner()}
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    told = labels.owner(child.pid)
    pid, start, place = told.split(":")
    assert not labels.is_dead(told)
    assert labels.is_dead(f"{pid}:{int(start) + 1}:{place}")  # another process got the number
    child.communicate()
    assert labels.is_dead(told)
    boot, namespace = place.split("/")
    for elsewhere in (f"{boot}/1", f"{boot[:-1]}x/{namespace}", ""):
        assert not labels.is_dead(f"{pid}:{start}:{elsewhere}")
    for garbled in ("", "x", f"{pid}:x:{place}", pid, f"{os.getpid()}"):
        assert not labels.is_dead(garbled)
