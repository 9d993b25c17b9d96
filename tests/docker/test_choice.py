"""The choice of a runtime on a real engine, and the command line on containers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.stack.docker.engine import Engine
from tests.docker.killing import STACK, things
from tests.integration.helpers import ROOT, harness


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine, which is empty afterwards."""
    engine = Engine.find()
    yield engine
    assert things(engine) == []


def checked(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    done = harness("check", "slos/inference.yaml", "--json", *arguments, cwd=ROOT, env=env)
    assert done.returncode in (0, 3), done.stderr
    (told,) = json.loads(done.stdout)["runtimes"].values()
    return done.returncode, told


def test_auto_takes_the_engine_that_has_the_images(engine: Engine) -> None:
    _, told = checked("--runtime", "auto")
    assert told == {"asked": "auto", "taken": "docker", "why": f"engine {engine.version} at {engine.host}"}


def test_auto_takes_the_local_runtime_where_images_are_not_to_be_had_and_docker_says_so(engine: Engine) -> None:
    elsewhere = {"TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX": "nowhere.invalid/"}
    _, told = checked("--runtime", "auto", env=elsewhere)
    assert told["taken"] == "local" and "nowhere.invalid/" in told["why"]
    done = harness("stack", "up", "--runtime", "docker", str(ROOT / "stack.yaml"), cwd=ROOT, env=elsewhere)
    assert done.returncode == 3 and "image-unavailable" in done.stderr and "nowhere.invalid/" in done.stderr
    assert "pulling nowhere.invalid/" in done.stdout
    assert things(engine) == []


def test_a_stack_on_containers_stays_up_between_commands_until_it_is_taken_down(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK)
    env = {"XDG_STATE_HOME": str(tmp_path / "state"), "SLO_HARNESS_RUNTIME": "auto"}
    up = harness("stack", "up", cwd=tmp_path, env=env)
    assert up.returncode == 0, up.stderr
    assert up.stdout.count(f"runtime docker: engine {engine.version}") == 1
    try:
        again = harness("stack", "up", "--runtime", "docker", cwd=tmp_path, env=env)
        assert "runtime" not in again.stdout and " is up; " in again.stdout
        status = harness("stack", "status", cwd=tmp_path, env=env)
        assert status.returncode == 0 and "docker" in status.stdout, status.stdout
        logs = harness("stack", "logs", "redis", cwd=tmp_path, env=env)
        assert "Ready to accept connections" in logs.stdout, logs.stdout + logs.stderr
    finally:
        down = harness("stack", "down", cwd=tmp_path, env=env)
    assert down.returncode == 0, down.stderr
    assert things(engine) == []
