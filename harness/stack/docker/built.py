"""The image of a stack's own services, built from the Dockerfile that its stack file names, unless it is there."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, UsageError
from harness.model.events import Event, StackEvent
from harness.model.stackfile import Image, StackFile
from harness.stack.docker.containers import refusals
from harness.stack.docker.engine import Engine
from harness.stack.docker.have import pull
from harness.stack.docker.images import hub_prefix
from harness.stack.docker.lazy import load

LABEL = "slo-harness.image"  # on what was built here: of which inputs
INDEX = "PIP_INDEX_URL"  # handed on where it is set and holds no credentials, as an image keeps what it was told
TOLD_AS = "image"  # whose progress it is
_LAST_LINES = 20
_TIMEOUT = 1200.0  # seconds of silence of a build
_BASE = re.compile(r"^ARG[ \t]+BASE=(\S+)[ \t]*$", re.MULTILINE)
_STEP = re.compile(r"Step \d+/\d+ : .*")


@dataclass(frozen=True)
class Built:
    """name: by which the engine knows the image; id: of what it is."""

    name: str
    id: str


@dataclass(frozen=True)
class Context:
    """What an image is built of. files: paths below `root`, as .dockerignore leaves them; base: the image that its ARG
    BASE names, with the registry prefix; '' for a Dockerfile without."""

    root: Path
    dockerfile: str
    files: tuple[str, ...]
    base: str

    def key(self, base_id: str) -> str:
        """Of the content of everything that it is made of, as one word."""
        digest = hashlib.sha256(repr((self.dockerfile, self.base, base_id)).encode())
        for name in self.files:
            path = self.root / name
            if path.is_file():
                told = (name, os.access(path, os.X_OK), hashlib.sha256(path.read_bytes()).hexdigest())
                digest.update(repr(told).encode())
        return digest.hexdigest()[:16]


def image_of_stack(file: StackFile) -> Image:
    """What the stack file says of it. Raises UsageError no-app-image."""
    if file.spec.image is None:
        cause = f"--app container: stack {file.metadata.name} does not say of which image its containers are"
        raise UsageError("no-app-image", cause, "Add `image: {dockerfile: ..., services: [...]}` to its spec.")
    return file.spec.image


def context(file: StackFile, root: Path) -> Context:
    """Raises UsageError no-app-image; file-missing when its Dockerfile cannot be read."""
    dockerfile = image_of_stack(file).dockerfile
    try:
        base = _BASE.search((root / dockerfile).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("file-missing", f"{root / dockerfile} cannot be read: {error}", "Correct the path.") from None
    ignore = root / ".dockerignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    files = load("docker.utils.build").exclude_paths(str(root), patterns, dockerfile=dockerfile)
    return Context(root, dockerfile, tuple(sorted(files)), "" if base is None else hub_prefix() + base[1])


def find(engine: Engine, file: StackFile, root: Path) -> Built:
    """The image as it would be built now; its id is '' where that was not done yet. Raises as `context`; HarnessError
    engine-lost, engine-refused."""
    name = _name(engine, file, context(file, root))
    return Built(name, str((engine.image(name) or {}).get("Id", "")))


def ensure(engine: Engine, file: StackFile, root: Path, emit: Callable[[Event], None]) -> Built:
    """The image, built first unless there is one of the same inputs; how far that is goes to `emit`.

    Raises as `find`; HarnessError image-unavailable (its base), image-build-failed.
    """
    wanted = context(file, root)
    if wanted.base and engine.image(wanted.base) is None:
        for error in pull(engine, {TOLD_AS: wanted.base}, emit).values():
            raise error
    name = _name(engine, file, wanted)
    image = engine.image(name)
    if image is None:
        began = time.monotonic()
        emit(StackEvent(TOLD_AS, "installing", detail=f"building {name} from {wanted.dockerfile}"))
        _build(engine, wanted, name, emit)
        image = engine.image(name)
        emit(StackEvent(TOLD_AS, "installing", detail=f"built {name} in {time.monotonic() - began:.0f} s"))
    if image is None:
        raise _failed(name, "the engine reported no error, and the image is not there", ())
    return Built(name, str(image["Id"]))


def build_arguments(base: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the Dockerfile is told."""
    index = environ.get(INDEX, "")
    return ({"BASE": base} if base else {}) | ({INDEX: index} if index and "@" not in index else {})


def _name(engine: Engine, file: StackFile, wanted: Context) -> str:
    base = engine.image(wanted.base) if wanted.base else None
    return f"slo-harness-{file.metadata.name}:{wanted.key('' if base is None else base['Id'])}"


def _build(engine: Engine, wanted: Context, name: str, emit: Callable[[Event], None]) -> None:
    docker: Any = load("docker")
    archive = load("docker.utils.build").create_archive(str(wanted.root), list(wanted.files))
    with refusals(f"the image {name}"), archive:
        client = docker.APIClient(base_url=engine.host, version="auto", timeout=_TIMEOUT)
        try:
            answer = client.build(
                fileobj=archive,
                custom_context=True,
                dockerfile=wanted.dockerfile,
                tag=name,
                rm=True,
                forcerm=True,
                decode=True,
                labels={LABEL: name.rpartition(":")[2]},
                buildargs=build_arguments(wanted.base),
            )
            read(answer, name, emit)
        finally:
            client.close()


def read(answer: Iterable[Mapping[str, Any]], name: str, emit: Callable[[Event], None]) -> None:
    """What an engine says while it builds: each step is told. Raises HarnessError image-build-failed, with its last
    lines."""
    said: deque[str] = deque(maxlen=_LAST_LINES)
    for one in answer:
        lines = [line.rstrip() for line in str(one.get("stream", "")).splitlines() if line.strip()]
        said.extend(lines)
        for line in lines:
            if _STEP.fullmatch(line):
                emit(StackEvent(TOLD_AS, "installing", detail=f"{name}: {line}"))
        if "error" in one:
            raise _failed(name, str(one["error"]).strip(), said)


def _failed(name: str, why: str, said: Iterable[str]) -> HarnessError:
    lines = "\n".join(said)
    shown = f"; its last lines:\n{lines}" if lines else ""
    remedy = "The reason should stand in these lines; correct the Dockerfile, or use --app process."
    return HarnessError("image-build-failed", f"{name} could not be built: {why}{shown}", remedy)
