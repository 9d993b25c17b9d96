"""docs/docker-images.md says of everything that is passed to an official image where that is documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.stack.docker.images import COMPOSE_FILE, pinned_images
from harness.stack.docker.services import DECLARED
from harness.stack.docker.services.declared import DISK, Told

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "docker-images.md").read_text()
CONFIGS = {
    "prometheus": ROOT / "monitoring/prometheus/prometheus.yml",
    "alertmanager": ROOT / "monitoring/alertmanager/alertmanager.yml",
    "loki": ROOT / "monitoring/loki/loki.yaml",
    "postgres-exporter": ROOT / "monitoring/postgres-exporter/queries.yml",
}
_MILVUS = re.compile(
    r"(ROOTCOORD|PROXY|QUERYCOORD|QUERYNODE|INDEXCOORD|INDEXNODE|DATACOORD|DATANODE|ETCD|MQ|TRACE|LOG|COMMON"
    r"|LOCALSTORAGE|ROCKSMQ|MINIO)_[A-Z_]+"
)


def _section(kind: str) -> str:
    found = re.search(rf"^### {kind}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section for {kind}"
    return found[1]


def _words(command: tuple[str, ...] | list[str]) -> Iterator[str]:
    """The options of a command, without their values."""
    for word in command:
        if re.match(r"-{1,2}[a-z]", word):
            yield word.partition("=")[0]


def _uncited(kind: str, command: list[str], env: dict[str, str], places: list[str]) -> list[str]:
    cited = set(re.findall(r"`([^`]+)`", _section(kind)))
    known = {word for text in cited for word in text.split()}
    options = [word for word in _words(command) if word not in known]
    initdb = [word for word in _words(env.get("POSTGRES_INITDB_ARGS", "").split()) if word not in known]
    variables = [
        name
        for name in env
        if name not in cited and not (kind == "milvus" and "`PART_KEY`" in _section(kind) and _MILVUS.fullmatch(name))
    ]
    return [*options, *initdb, *variables, *(place for place in places if place not in cited)]


@pytest.mark.parametrize("has_disk", [False, True])
@pytest.mark.parametrize("kind", sorted(DECLARED))
def test_what_the_runtime_passes_is_cited(tmp_path: Path, kind: str, has_disk: bool) -> None:
    config = CONFIGS.get(kind)
    peers = {
        "postgres": "postgres:5432",
        "redis": "redis:6379",
        "webhook-sink": "h:1",
        "alertmanager": "alertmanager:9093",
    }
    scrape = {"postgres": "h:2"}
    told = Told(kind, tmp_path, "some-id", 15.0, config, scrape, peers, "token", has_disk)
    rendered = DECLARED[kind].render(told)
    places = [place for place in rendered.mounts.values() if not place.startswith(DISK)]
    assert _uncited(kind, list(rendered.command), dict(rendered.env), places) == []


@pytest.mark.parametrize("kind", sorted(pinned_images()))
def test_what_the_compose_file_passes_is_cited(kind: str) -> None:
    service: dict[str, Any] = YAML(typ="safe", pure=True).load(COMPOSE_FILE)["services"][kind]
    places = [volume.split(":")[1] for volume in service.get("volumes", [])]
    probe = service.get("healthcheck", {}).get("test", [])[1:2]
    command = [str(word) for word in service.get("command", [])]
    assert _uncited(kind, command, service.get("environment", {}), [*places, *probe]) == []


def test_the_table_says_of_each_pinned_image_whether_it_was_run() -> None:
    for kind, image in pinned_images().items():
        row = re.search(rf"^\| `{kind}` \| `{re.escape(image)}` \| ([^|]+)\|", PAGE, re.MULTILINE)
        assert row is not None, f"{image} is not in the table"
        assert re.match(r"(never )?run", row[1])


def test_the_readme_tells_of_the_same_images() -> None:
    table = (ROOT / "README.md").read_text()
    assert [image for image in pinned_images().values() if f"`{image}`" not in table] == []


def test_every_row_of_what_is_passed_names_a_source() -> None:
    for kind in DECLARED:
        rows = [line for line in _section(kind).splitlines() if line.startswith("| `")]
        assert rows, kind
        for row in rows:
            source = row.rstrip("| ").rpartition("|")[2]
            assert re.search(r"\]\(https://|the same script|ours|as above", source), row


def test_an_option_that_the_page_does_not_cite_is_found() -> None:
    assert _uncited("prometheus", ["--config.file=x", "--web.enable-lifecycle"], {"HOME": "/"}, ["/elsewhere"]) == [
        "--web.enable-lifecycle",
        "HOME",
        "/elsewhere",
    ]
