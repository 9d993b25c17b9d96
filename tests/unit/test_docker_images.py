"""The images of the built-in services, and the compose file that names them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.stack.docker import images
from harness.stack.services import RECIPES

ROOT = Path(__file__).parents[2]
OURS = {"otlp-sink", "webhook-sink"}  # processes of our own, on either runtime


def test_every_built_in_service_that_is_not_ours_has_a_pinned_image() -> None:
    pinned = images.pinned_images()
    assert set(pinned) == set(RECIPES) - OURS
    for kind, image in pinned.items():
        assert re.fullmatch(r"[a-z0-9./_-]+:v?\d+\.\d+[\w.-]*", image), f"{kind}: {image} is no name with a version"


def test_the_package_holds_the_file_at_the_top_of_the_checkout() -> None:
    assert images.COMPOSE_FILE.samefile(ROOT / "docker-compose.test.yml")


def test_no_other_file_of_the_harness_names_an_image() -> None:
    names = "|".join(re.escape(image.rpartition(":")[0]) for image in images.pinned_images().values())
    named = re.compile(rf"(?<![\w/.-])({names}):v?\d")
    for path in (ROOT / "harness").rglob("*.py"):
        assert not named.search(path.read_text()), f"{path} names an image"


def test_the_prefix_is_testcontainers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from testcontainers.core.config import testcontainers_config

    monkeypatch.setattr(testcontainers_config, "hub_image_name_prefix", "mirror.example/hub/")
    assert images.image_of("milvus") == "mirror.example/hub/" + images.pinned("milvus")


def test_a_kind_without_an_image_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no-image: .*'webhook-sink'"):
        images.image_of("webhook-sink")


@pytest.mark.parametrize("text", ["services:\n  redis: {}\n", "services: []\n", "nothing\n", ""])
def test_a_file_without_images_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "docker-compose.test.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match="compose-file"):
        images.pinned_images(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="compose-file"):
        images.pinned_images(tmp_path / "docker-compose.test.yml")
