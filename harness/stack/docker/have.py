"""Which images of a stack are on the engine, and pulling those that are not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.core.errors import HarnessError
from harness.model.events import Event, StackEvent
from harness.model.stackfile import StackFile
from harness.stack.docker.engine import Engine
from harness.stack.docker.images import image_of, pinned_images
from harness.stack.docker.lazy import load

TELL_EVERY = 5.0  # seconds between two lines of progress of one image
_MB = 1e6


def images_of(file: StackFile) -> dict[str, str]:
    """Service -> image, for the services of `file` that run in containers: built-in ones for which there is one."""
    kinds = pinned_images()
    return {name: image_of(one.use) for name, one in file.spec.services.items() if one.use in kinds and one.use}


def absent(engine: Engine, file: StackFile) -> dict[str, str]:
    """Service -> image, for those whose image is not on the engine. Raises HarnessError engine-lost, engine-refused."""
    wanted = images_of(file)
    there = {image: engine.image(image) is not None for image in set(wanted.values())}
    return {name: image for name, image in wanted.items() if not there[image]}


def cannot_pull(engine: Engine, images: Mapping[str, str]) -> str:
    """'' when the registries offer all of these, else which one not, and why. May take seconds."""
    names = sorted(set(images.values()))
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        told = pool.map(lambda name: engine.can_pull(name, _auth(name)), names)
    hindered = next(((name, why) for name, why in zip(names, told, strict=True) if why), None)
    return f"the image {hindered[0]} is not on it and cannot be pulled: {hindered[1]}" if hindered else ""


def pull(engine: Engine, images: Mapping[str, str], emit: Callable[[Event], None]) -> dict[str, HarnessError]:
    """Pull the images of these services, all at the same time, and tell how far it is; returns the services whose image
    could not be had, and why: image-unavailable, or engine-lost."""
    by_image: dict[str, list[str]] = {}
    for service, image in images.items():
        by_image.setdefault(image, []).append(service)

    def one(image: str) -> HarnessError | None:
        began, services = time.monotonic(), ", ".join(by_image[image])
        emit(StackEvent(services, "installing", detail=f"pulling {image}"))
        try:
            engine.pull(image, _Told(services, image, emit), _auth(image))
        except HarnessError as error:
            return error
        emit(StackEvent(services, "installing", detail=f"pulled {image} in {time.monotonic() - began:.0f} s"))
        return None

    with ThreadPoolExecutor(max(1, len(by_image))) as pool:
        failed = dict(zip(by_image, pool.map(one, by_image), strict=True))
    return {service: error for image, error in failed.items() if error for service in by_image[image]}


class _Told:
    """Adds up what the engine reports of an image's layers, and tells it now and then."""

    def __init__(self, services: str, image: str, emit: Callable[[Event], None]) -> None:
        self._services, self._image, self._emit = services, image, emit
        self._layers: dict[str, tuple[int, int]] = {}
        self._next = time.monotonic() + TELL_EVERY

    def __call__(self, step: dict[str, Any]) -> None:
        progress = step.get("progressDetail") or {}
        if step.get("status") == "Downloading" and "total" in progress:
            self._layers[str(step.get("id"))] = (int(progress.get("current", 0)), int(progress["total"]))
        elif step.get("status") in ("Download complete", "Pull complete") and (known := self._layers.get(step["id"])):
            self._layers[step["id"]] = (known[1], known[1])
        if self._layers and time.monotonic() >= self._next:
            self._next = time.monotonic() + TELL_EVERY
            current, total = (sum(column) / _MB for column in zip(*self._layers.values(), strict=True))
            told = f"pulling {self._image}: {current:.0f} of {total:.0f} MB so far known"
            self._emit(StackEvent(self._services, "installing", detail=told))


def _auth(image: str) -> str:
    """What the registry of an image is to be told, as testcontainers would: of Docker's own configuration and helpers,
    or DOCKER_AUTH_CONFIG."""
    auth: Any = load("docker.auth")  # needs its time to import, and is needed here alone
    from testcontainers.core.docker_client import DockerClient

    registry, _ = auth.resolve_repository_name(image)
    header: bytes | None = auth.get_config_header(DockerClient().client.api, registry)
    return header.decode() if header else ""
