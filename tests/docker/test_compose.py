"""docker-compose.test.yml by itself: valid as Compose reads it, and up with the images that stand for the official."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from harness.stack.docker.images import image_of, pinned_images
from tests.docker.compose_check import understood

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.test.yml"
WITHOUT_PROBE = {"loki", "redis-exporter"}  # their images hold nothing to probe with
HOST_PROCESSES = {"application", "model-server", "refresher"}
_UP_S = 240.0
_SCRAPED_S = 120.0


def test_compose_accepts_the_file_and_sees_every_port_on_the_loopback() -> None:
    services = understood(FILE)["services"]
    assert {kind: service["image"] for kind, service in services.items()} == pinned_images()
    assert {kind for kind, service in services.items() if "healthcheck" not in service} == WITHOUT_PROBE
    for kind, service in services.items():
        assert service["ports"], kind
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}, kind


@pytest.mark.parametrize(
    ("correct", "wrong", "said"),
    [
        ("image: redis:", "imago: redis:", "imago"),
        ("{condition: service_healthy}", "{condition: service_happy}", "condition"),
        ("depends_on: [alertmanager]", "depends_on: [alertmanagers]", "alertmanagers"),
        ("- redis:/data", "- undeclared:/data", "undeclared"),
    ],
)
def test_compose_refuses_the_file_with_a_mistake_in_it(tmp_path: Path, correct: str, wrong: str, said: str) -> None:
    text = FILE.read_text().replace("volumes: [redis:/data]", "volumes:\n      - redis:/data")
    assert correct in text
    path = tmp_path / FILE.name
    path.write_text(text.replace(correct, wrong, 1))
    with pytest.raises(ValueError, match=said):
        understood(path)


@pytest.fixture(scope="module")
def composed() -> Iterator[docker.DockerClient]:
    """The file up, under the names that it gives its images; down again afterwards, and nothing of it left."""
    compose = shutil.which("docker-compose")
    if compose is None:
        if os.environ.get("CI"):
            pytest.fail("docker-compose is not installed (apt-get install docker-compose)")
        pytest.skip("docker-compose is not installed (apt-get install docker-compose)")
    client = docker.from_env()
    for kind, image in pinned_images().items():
        client.images.get(image_of(kind)).tag(image)
    words = [compose, "--project-name", "composed", "--file", str(FILE)]
    try:
        subprocess.run([*words, "up", "--detach"], check=True, timeout=_UP_S)
        yield client
    finally:
        subprocess.run([*words, "down", "--volumes", "--timeout", "3"], check=True, timeout=_UP_S)
        for image in pinned_images().values():
            client.images.remove(image)
    ours = {"label": "com.docker.compose.project=composed"}
    assert client.containers.list(all=True, filters=ours) == []
    assert client.networks.list(filters=ours) == []
    assert client.volumes.list(filters=ours) == []


def _ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return str(reply.read().decode())


def _healths(client: docker.DockerClient) -> dict[str, str]:
    """Service -> what its healthcheck says, or that it has none."""
    found = client.containers.list(all=True, filters={"label": "com.docker.compose.project=composed"})
    states = {one.labels["com.docker.compose.service"]: one.attrs["State"] for one in found}
    return {service: state.get("Health", {"Status": state["Status"]})["Status"] for service, state in states.items()}


def test_every_service_gets_healthy_by_the_probe_of_its_image(composed: docker.DockerClient) -> None:
    wanted = {kind: "running" if kind in WITHOUT_PROBE else "healthy" for kind in pinned_images()}
    deadline = time.monotonic() + _UP_S
    while (seen := _healths(composed)) != wanted and time.monotonic() < deadline:
        assert "unhealthy" not in seen.values() and "exited" not in seen.values(), seen
        time.sleep(0.5)  # the engine has an event for a change, but none for what is so already
    assert seen == wanted


def test_prometheus_scrapes_them_by_name_with_the_configuration_of_production(composed: docker.DockerClient) -> None:
    deadline = time.monotonic() + _SCRAPED_S
    while time.monotonic() < deadline:
        targets = json.loads(_ask("http://127.0.0.1:9090/api/v1/targets"))["data"]["activeTargets"]
        health = {target["labels"]["job"]: target["health"] for target in targets}
        if "unknown" not in health.values() and set(health.values()) == {"up", "down"}:
            break
        time.sleep(0.5)
    # the processes of this machine are not there, and all else is
    assert {job for job, said in health.items() if said != "up"} == HOST_PROCESSES


def test_the_exporter_may_read_statistics_and_its_queries_work(composed: docker.DockerClient) -> None:
    text = _ask("http://127.0.0.1:9187/metrics")
    assert re.search(r"^pg_up 1$", text, re.MULTILINE)
    assert re.search(r'^pg_slo_calls_total\{datname="postgres"[^}]*\} [1-9]', text, re.MULTILINE)
    assert "\nredis_up 1\n" in _ask("http://127.0.0.1:9121/metrics")


def test_the_configurations_of_production_are_what_runs(composed: docker.DockerClient) -> None:
    told = json.loads(_ask("http://127.0.0.1:9093/api/v2/status"))["config"]["original"]
    assert "http://notifications:9095/executive" in told
    assert "discover_log_levels: false" in _ask("http://127.0.0.1:3100/config")
