"""Which runtime is taken, and why: an engine that answers, one that does not, images that are there or not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.gate.session import Session
from harness.model.events import Event, LogEvent, StackEvent
from harness.model.runtimes import wanted_runtime
from harness.model.stackfile import load_stackfile
from harness.stack.docker import have
from harness.stack.docker.choice import choose, look
from harness.stack.docker.have import images_of
from harness.stack.machine.runtimes import check_runtime
from tests.fake_engine import FakeEngine, fake_engine

ROOT = Path(__file__).parents[2]
FILE = load_stackfile(ROOT / "stack.yaml")[0]
IMAGES = set(images_of(FILE).values())
BRIDGE = ("GET", "/networks/bridge")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    monkeypatch.setenv("HOME", str(tmp_path))  # neither testcontainers' properties nor credentials of this machine
    with fake_engine(tmp_path) as engine:
        engine.answers[BRIDGE] = (
            200,
            {"Id": "b", "IPAM": {"Config": [{"Gateway": "127.0.0.1"}, {"Gateway": "fe80::1"}]}},
        )
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        yield engine


def asked(fake: FakeEngine) -> set[str]:
    return {path.split("/")[1] for _, path, _ in fake.asked}


def test_the_reference_stack_has_an_image_for_each_store_and_watcher_and_for_nothing_else() -> None:
    of = images_of(FILE)
    assert {"postgres", "redis", "milvus", "prometheus", "alertmanager", "loki"} <= set(of)
    assert not {"app", "model-server", "refresher"} & set(of)
    assert len(IMAGES) == 8


def test_what_is_asked_for_is_the_option_else_the_environment_else_auto() -> None:
    assert wanted_runtime("docker", {"SLO_HARNESS_RUNTIME": "local"}) == "docker"
    assert wanted_runtime(None, {"SLO_HARNESS_RUNTIME": "local"}) == "local"
    assert wanted_runtime(None, {}) == "auto"
    for option, environ in (("podman", {}), (None, {"SLO_HARNESS_RUNTIME": "podman"})):
        with pytest.raises(UsageError, match="podman") as raised:
            wanted_runtime(option, environ)
        assert raised.value.slug == "bad-option"


@pytest.mark.parametrize("wanted", ["auto", "docker"])
def test_an_engine_with_all_images_is_taken_and_no_registry_is_asked(fake: FakeEngine, wanted: str) -> None:
    fake.images = set(IMAGES)
    told: list[Event] = []
    choice = choose(wanted, FILE, told.append)
    assert (choice.runtime, choice.missing, told) == ("docker", {}, [])
    assert choice.why == f"engine 20.10.24 at {fake.url}"
    assert asked(fake) == {"_ping", "networks", "images", "version"}


@pytest.mark.parametrize("wanted", ["auto", "docker"])
def test_images_that_are_not_there_are_pulled_and_that_is_told(
    fake: FakeEngine, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(have, "TELL_EVERY", 0.0)
    fake.registry = set(IMAGES)
    told: list[Event] = []
    assert choose(wanted, FILE, told.append).runtime == "docker"
    assert fake.images == IMAGES
    lines = [event.detail for event in told if isinstance(event, StackEvent) and "redis" in event.service.split(", ")]
    (redis,) = (image for image in IMAGES if image.rpartition("/")[2].startswith("redis:"))
    assert lines[0] == f"pulling {redis}" and lines[1] == f"pulling {redis}: 0 of 0 MB so far known"
    assert lines[-1].startswith(f"pulled {redis} in ")


def test_auto_takes_the_local_runtime_where_an_image_cannot_be_had_and_says_which(fake: FakeEngine) -> None:
    (loki,) = (image for image in IMAGES if "loki" in image)
    fake.registry = IMAGES - {loki}
    choice = choose("auto", FILE, lambda _: None)
    assert choice.runtime == "local" and f"no {loki} in registry" in choice.why
    assert not fake.images, "nothing is to be pulled in vain"
    with pytest.raises(HarnessError, match="loki") as raised:
        choose("docker", FILE, lambda _: None)
    assert (raised.value.slug, raised.value.outcome) == ("image-unavailable", Outcome.NOT_VALIDATED)


def test_a_pull_that_fails_after_all_is_no_reason_to_fail_for_auto(fake: FakeEngine) -> None:
    fake.registry = set(IMAGES)
    fake.answers["POST", "/images/create"] = (200, [{"error": "toomanyrequests"}])
    choice = choose("auto", FILE, lambda _: None)
    assert choice.runtime == "local" and "toomanyrequests" in choice.why


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"", "did not answer"), (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403 Forbidden")],
)
def test_what_does_not_answer_as_an_engine_is_none(fake: FakeEngine, raw: bytes, said: str) -> None:
    fake.raw = raw
    choice = choose("auto", FILE, lambda _: None)
    assert choice.runtime == "local" and said in choice.why
    with pytest.raises(HarnessError, match=said) as raised:
        choose("docker", FILE, lambda _: None)
    assert (raised.value.slug, raised.value.outcome) == ("engine-unreachable", Outcome.NOT_VALIDATED)


def test_an_engine_that_is_not_on_this_machine_is_not_taken(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.images = set(IMAGES)
    fake.answers[BRIDGE] = (200, {"Id": "b", "IPAM": {"Config": [{"Gateway": "192.0.2.1"}]}})
    assert "192.0.2.1" in choose("auto", FILE, lambda _: None).why
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")  # an address that nobody has: it is not even asked
    assert "tcp://192.0.2.1:2375" in choose("auto", FILE, lambda _: None).why
    with pytest.raises(HarnessError) as raised:
        choose("docker", FILE, lambda _: None)
    assert (raised.value.slug, raised.value.outcome) == ("engine-not-local", Outcome.NOT_VALIDATED)


def test_local_and_external_ask_no_engine(fake: FakeEngine) -> None:
    assert choose("local", FILE, lambda _: None).why == ""
    with pytest.raises(HarnessError) as raised:
        choose("external", FILE, lambda _: None)
    assert (raised.value.slug, raised.value.outcome) == ("runtime-not-built", Outcome.NOT_VALIDATED)
    assert fake.asked == []


def test_looking_pulls_nothing_and_asks_no_registry(fake: FakeEngine) -> None:
    fake.registry = set(IMAGES)
    choice, lack = look("auto", FILE)
    assert (choice.runtime, lack) == ("local", None) and "is not on the engine yet" in choice.why
    choice, lack = look("docker", FILE)
    assert (choice.runtime, lack) == ("docker", None) and f"{len(images_of(FILE))} images would be pulled" in choice.why
    assert not fake.images and not {"distribution", "create"} & asked(fake)
    fake.raw = b""
    assert look("docker", FILE)[1] is not None


def test_a_session_tells_its_choice_once(fake: FakeEngine, tmp_path: Path) -> None:
    fake.images = set(IMAGES)
    session, told = Session(tmp_path, runtime="auto", reuse=False), list[Event]()
    for _ in range(2):
        assert session.choice(ROOT / "stack.yaml", FILE, told.append).runtime == "docker"
    assert told == [LogEvent("info", f"runtime docker: engine 20.10.24 at {fake.url}")]


def test_the_doctor_has_a_row_for_it(fake: FakeEngine) -> None:
    fake.images = set(IMAGES)
    check, _ = check_runtime("auto", FILE)
    assert check is not None and (check.state, check.found) == ("ok", f"auto: docker, engine 20.10.24 at {fake.url}")
    fake.raw = b""
    check, _ = check_runtime("docker", FILE)
    assert check is not None and check.state == "problem" and check.numbers["taken"] is None
    assert check_runtime("auto", None) == (None, None)


def test_check_says_what_would_be_taken_and_what_keeps_it(fake: FakeEngine, tmp_path: Path) -> None:
    fake.images = set(IMAGES)
    command = [
        sys.executable,
        "-m",
        "harness.cli.main",
        "check",
        "slos/inference.yaml",
        "--json",
        "--runtime",
        "docker",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and [one["taken"] for one in told["runtimes"].values()] == ["docker"]
    fake.raw = b""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 3 and [one["taken"] for one in told["runtimes"].values()] == [None]
    assert [one["decidable"] for one in told["validations"]] == [False]
    assert "no Docker engine answers" in done.stdout
