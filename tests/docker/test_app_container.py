"""The reference system with its own services in containers too: built, up, asked, seen by Prometheus, and gone."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import requests

from harness.core.errors import HarnessError, UsageError
from harness.core.jsonio import read_json
from harness.model.events import Event, StackEvent
from harness.model.stackfile import load_stackfile
from harness.stack.docker.built import LABEL, context, ensure, find
from harness.stack.docker.engine import Engine
from harness.stack.docker.removal import left
from harness.stack.docker.stack import DockerStack
from harness.stack.docker.view import DIRECTORY
from harness.stack.runtime import INFO, up
from harness.telemetry.targets import await_targets

ROOT = Path(__file__).parents[2]
OWN = ("load-corpus", "load-features", "model-server", "refresher", "app")
WAIT = 120.0
BROKEN = """\
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
RUN echo so far so good && ls /there/is/no/such/file
"""
SMALL = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: small}
spec:
  services:
    web: {command: [python, -m, http.server], ports: [http]}
  image: {services: [web]}
  target: web.http
"""


@pytest.fixture(scope="module")
def told() -> list[Event]:
    """What bringing the stack up told."""
    return []


@pytest.fixture(scope="module")
def stack(told: list[Event]) -> Iterator[DockerStack]:
    with up(
        ROOT / "stack.yaml", lease=True, emit=told.append, allow_reuse=False, runtime="docker", app="container"
    ) as running:
        yield cast(DockerStack, running)
    assert left(Engine.find(), running.id) == []


def _url(stack: DockerStack, path: str) -> str:
    return f"http://{stack.address('app.http')}{path}"


def test_it_is_healthy_and_its_own_services_are_containers_of_one_image(stack: DockerStack, told: list[Event]) -> None:
    assert stack.healthy()
    states = {one.name: one.state for one in stack.services()}
    assert {name: states[name] for name in OWN} == {
        name: "done" if name.startswith("load-") else "healthy" for name in OWN
    }
    built = find(stack.engine, stack.file, ROOT)
    assert {stack.images[name]["image"] for name in OWN} == {built.name}
    assert {stack.images[name]["id"] for name in OWN} == {built.id}
    image = stack.engine.image(built.name)
    assert image is not None and image["Config"]["Labels"][LABEL] == built.name.rpartition(":")[2]
    for name in OWN:
        container = stack.engine.container(str(stack.container(name)))
        assert container is not None and container["Config"]["User"] == "10001:10001"
    assert read_json(stack.directory / INFO)["app"] == stack.app == "container"
    steps = [one.detail for one in told if isinstance(one, StackEvent) and one.service == "image"]
    assert any(re.search(r"Step \d+/\d+ : RUN python -m pip install", step) for step in steps), steps


def test_it_answers_from_the_model_server_the_stores_and_the_artefacts(stack: DockerStack) -> None:
    found = requests.post(_url(stack, "/search"), json={"query": "read a file", "top_k": 3}, timeout=30)
    assert found.status_code == 200 and found.json()["results"], found.text
    predicted = requests.post(_url(stack, "/predict"), json={"entity_id": 1}, timeout=30)
    assert predicted.status_code == 200, predicted.text


def test_prometheus_sees_them_by_their_names(stack: DockerStack) -> None:
    jobs = stack.scrape()
    assert jobs["application"].startswith("app:")
    await_targets(f"http://{stack.address('prometheus.http')}", jobs, deadline=WAIT)


def test_logs_and_spans_of_the_containers_are_where_those_of_processes_are(stack: DockerStack) -> None:
    requests.get(_url(stack, "/healthz"), timeout=30)
    for name in ("app", "model-server", "refresher"):
        lines = (stack.service_dir(name) / f"{name}.jsonl").read_text().splitlines()
        assert lines and all(isinstance(json.loads(line), dict) for line in lines)
    spans = stack.service_dir("traces") / "spans.jsonl"
    end = time.monotonic() + WAIT
    wanted = {"ai-database", "feature-refresher"}  # one by a link, one straight
    while not all(name in spans.read_text() for name in wanted):
        assert time.monotonic() < end, "no spans of theirs"
        time.sleep(0.2)


def test_the_sink_for_spans_takes_none_without_the_token(stack: DockerStack) -> None:
    answer = requests.post(f"http://{stack.address('traces.http')}/v1/traces", data=b"", timeout=10)
    assert answer.status_code == 401


def test_one_that_is_stopped_ends_by_its_signal_and_starts_again(stack: DockerStack) -> None:
    stack.stop_service("refresher")
    assert {one.name: one.exit_code for one in stack.services()}["refresher"] == 0
    stack.start_service("refresher")
    assert stack.healthy()


def test_what_has_not_changed_is_not_built_again_and_what_has_is(stack: DockerStack, tmp_path: Path) -> None:
    file = load_stackfile(ROOT / "stack.yaml")[0]
    events: list[Event] = []
    assert ensure(stack.engine, file, ROOT, events.append).id == find(stack.engine, file, ROOT).id
    assert events == []
    for name in context(file, ROOT).files:
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    assert find(stack.engine, file, tmp_path) == find(stack.engine, file, ROOT)
    (tmp_path / "app/__init__.py").write_text("# changed\n")
    assert find(stack.engine, file, tmp_path).id == ""


def test_a_build_that_fails_says_what_failed(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(SMALL)
    (tmp_path / "Dockerfile").write_text(BROKEN)
    with pytest.raises(HarnessError) as raised:
        up(tmp_path / "stack.yaml", lease=True, emit=lambda _: None, runtime="docker", app="container")
    assert raised.value.slug == "image-build-failed"
    assert "so far so good" in raised.value.cause and "/there/is/no/such/file" in raised.value.cause


def test_without_containers_or_an_image_it_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(SMALL.replace("  image: {services: [web]}\n", ""))
    for runtime, slug in (("local", "bad-option"), ("docker", "no-app-image")):
        with pytest.raises(UsageError) as raised:
            up(tmp_path / "stack.yaml", lease=True, emit=lambda _: None, runtime=runtime, app="container")
        assert raised.value.slug == slug


def test_a_path_of_the_service_is_one_inside(stack: DockerStack) -> None:
    container = stack.engine.container(str(stack.container("app")))
    assert container is not None
    binds = dict(bind.split(":")[:2] for bind in container["HostConfig"]["Binds"])
    assert binds[str(stack.service_dir("app"))] == DIRECTORY
    assert f"APP_LOG_FILE={DIRECTORY}/app.jsonl" in container["Config"]["Env"]
