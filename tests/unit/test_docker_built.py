"""The image of the reference service: what it is built of, what a build tells, and what its containers are told."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.core.config import testcontainers_config

from harness.core.errors import HarnessError, UsageError
from harness.model.events import Event, StackEvent
from harness.model.runtimes import with_app
from harness.model.stackfile import load_stackfile
from harness.stack.docker.bringup import inside
from harness.stack.docker.built import build_arguments, context, read
from harness.stack.docker.view import ANY, ARTEFACTS, DIRECTORY, HOST, Inside
from harness.stack.layout import Layout

ROOT = Path(__file__).parents[2]
LOCKED = re.compile(r"^(\S+==\S+(?: ;.*)?) \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)
BUILDERS = ("build_corpus.py", "build_model.py")  # which build artefacts, on the machine itself
DISTRIBUTIONS = {"grpc": "grpcio", "psycopg2": "psycopg2-binary", "prometheus_client": "prometheus-client"}


@pytest.fixture
def view() -> Inside:
    """The reference stack with its app in containers; every port is 20000 and its place in the file."""
    file = load_stackfile(ROOT / "stack.yaml")[0]
    ports: dict[str, dict[str, int]] = {name: {} for name in file.spec.services}
    named = [(name, port) for name, one in file.spec.services.items() for port in one.port_names]
    for number, (name, port) in enumerate(named, 20_000):
        ports[name][port] = number
    links = dict(zip(file.spec.links, range(21_000, 22_000), strict=False))
    artefacts = {name: Path("/cache", name) for name in file.spec.artefacts}
    return inside(Layout(file, ROOT, Path("/nowhere"), ports, links, artefacts), "container")


def test_a_command_in_a_container_listens_everywhere_and_reaches_others_as_containers_do(view: Inside) -> None:
    env, layout = view.env("app"), view.layout
    assert env["APP_LISTEN"] == f"{ANY}:{layout.port('app.http')}"
    assert env["APP_MODEL_SERVER"] == f"http://{HOST}:{layout.links['app->model-server']}"
    assert env["APP_LOG_FILE"] == f"{DIRECTORY}/app.jsonl"
    assert env["APP_CORPUS"] == f"{ARTEFACTS}/corpus"
    assert view.env("refresher")["APP_LOKI"] == "http://loki:3100"
    assert view.env("refresher")["APP_OTLP"].startswith(f"http://{HOST}:{layout.port('traces.http')}/")
    assert {layout.links["app->milvus"], layout.port("traces.http")} <= view.asked


def test_others_know_it_by_its_name_and_it_sees_its_artefacts_alone(view: Inside) -> None:
    assert view.scrape()["application"] == f"app:{view.layout.port('app.http')}"
    assert view.command("load-features") == ("python", "-m", "app.load_features")
    assert view.artefacts("load-features") == {Path("/cache/digits"): f"{ARTEFACTS}/digits"}
    assert view.artefacts("refresher") == {}


def test_as_processes_they_are_none_of_the_containers(view: Inside) -> None:
    as_processes = inside(view.layout, "process")
    assert "app" in view.ports and "load-corpus" in view.ports and "app" not in as_processes.ports
    assert as_processes.scrape()["application"] == f"{HOST}:{view.layout.port('app.http')}"


def test_the_context_is_what_the_dockerfile_copies_and_its_key_is_of_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testcontainers_config, "hub_image_name_prefix", "mirror.example/")
    file = load_stackfile(ROOT / "stack.yaml")[0]
    real = context(file, ROOT)
    tops = {name.partition("/")[0] for name in real.files}
    copied = re.findall(r"^COPY (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert tops == {one.partition("/")[0] for one in copied} | {"Dockerfile", ".dockerignore"}
    assert not [name for name in real.files if "__pycache__" in name or name.startswith("monitoring/prometheus")]
    assert real.base.startswith("mirror.example/python:3.")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY app app\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/one.py").write_text("1\n")
    before = context(file, tmp_path)
    first = before.key("")
    assert before.base == "" and first == context(file, tmp_path).key("") != before.key("sha256:another")
    (tmp_path / "app/one.py").write_text("2\n")
    assert context(file, tmp_path).key("") != first


def test_a_build_is_told_the_base_and_an_index_without_credentials() -> None:
    assert build_arguments("python:3", {}) == {"BASE": "python:3"}
    assert build_arguments("", {"PIP_INDEX_URL": "https://index.example/simple"}) == {
        "PIP_INDEX_URL": "https://index.example/simple"
    }
    assert build_arguments("", {"PIP_INDEX_URL": "https://me:secret@index.example/simple"}) == {}


def test_a_build_tells_its_steps_and_of_a_failure_the_last_lines() -> None:
    told: list[Event] = []
    lines = [{"stream": "Step 1/2 : FROM a\n"}, {"stream": "Sending\nmore\n"}, {"aux": {"ID": "sha256:1"}}]
    read(lines, "one:tag", told.append)
    assert [one.detail for one in told if isinstance(one, StackEvent)] == ["one:tag: Step 1/2 : FROM a"]
    with pytest.raises(HarnessError) as raised:
        read([*lines, {"error": "it returned 2"}], "one:tag", told.append)
    assert raised.value.slug == "image-build-failed"
    assert "it returned 2" in raised.value.cause and raised.value.cause.endswith("Sending\nmore")


def test_containers_of_the_app_want_docker() -> None:
    assert with_app("process", "local") == "local" and with_app("process", "auto") == "auto"
    assert with_app("container", "auto") == with_app("container", "docker") == "docker"
    for app, runtime in (("container", "local"), ("pod", "docker")):
        with pytest.raises(UsageError) as raised:
            with_app(app, runtime)
        assert raised.value.slug == "bad-option"


def _locked(name: str) -> dict[str, str]:
    """Requirement with its version and marker -> its hashes."""
    bare = re.sub(r"^    #.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    return {found[1]: found[2] for found in LOCKED.finditer(bare)}


def test_the_image_holds_of_each_package_what_the_lock_file_says() -> None:
    whole = _locked("requirements.lock")
    versions = {name.partition(" ;")[0]: hashes for name, hashes in whole.items()}
    image = _locked("requirements-app.lock")
    assert len(image) > 30
    assert [name for name, hashes in image.items() if versions.get(name.partition(" ;")[0]) != hashes] == []


def _imported() -> Iterator[str]:
    for package in ("app", "model_server", "refresher", "detectors"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name not in BUILDERS:
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                        yield node.module.partition(".")[0]
                    elif isinstance(node, ast.Import):
                        yield from (one.name.partition(".")[0] for one in node.names)


def test_the_image_holds_whatever_the_services_import() -> None:
    own = {"app", "model_server", "refresher", "detectors", "opentelemetry"}
    wanted = {DISTRIBUTIONS.get(name, name) for name in _imported() if name not in sys.stdlib_module_names} - own
    assert {"fastapi", "uvicorn", "grpcio"} <= wanted
    held = {name.partition("==")[0] for name in _locked("requirements-app.lock")}
    assert wanted - held == set()
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= held
