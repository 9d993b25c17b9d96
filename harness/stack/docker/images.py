"""The images of the built-in services, as docker-compose.test.yml names them: nowhere else is one named.

A wheel holds the file beside this module; in a checkout what is there is a link to the one at its top.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.core.errors import UsageError
from harness.stack.docker.lazy import load

COMPOSE_FILE = Path(__file__).with_name("docker-compose.test.yml")


@functools.cache
def pinned_images(path: Path = COMPOSE_FILE) -> Mapping[str, str]:
    """Kind of built-in service -> its image, name and tag, before any registry prefix: testcontainers puts that itself.

    Raises UsageError compose-file: the file is missing, or one of its services names no image.
    """
    try:
        with path.open(encoding="utf-8") as file:
            services = YAML(typ="safe", pure=True).load(file)["services"]
        return {kind: str(service["image"]) for kind, service in services.items()}
    except (OSError, KeyError, TypeError, AttributeError) as error:
        cause = f"{path} does not name the images: {type(error).__name__}: {error}"
        raise UsageError("compose-file", cause, "Install the package anew, or restore the file.") from error


def pinned(kind: str) -> str:
    """The image of `kind` before any registry prefix. Raises UsageError no-image for a kind without one."""
    images = pinned_images()
    if kind not in images:
        cause = f"docker-compose.test.yml has no service {kind!r}"
        raise UsageError("no-image", cause, f"Use one of {', '.join(sorted(images))}, or the local runtime.")
    return images[kind]


def image_of(kind: str) -> str:
    """The image of `kind` as the engine is asked for it: with testcontainers' registry prefix, where one is set.

    Raises UsageError no-image for a kind without one.
    """
    return hub_prefix() + pinned(kind)


def hub_prefix() -> str:
    """What testcontainers puts before each name: TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX, a mirror's name and a slash."""
    config: Any = load("testcontainers.core.config")  # needs the docker library, which is needed here alone
    return str(config.testcontainers_config.hub_image_name_prefix)
