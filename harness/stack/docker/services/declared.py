"""What a built-in service is as a container: one declaration a file. Its image is docker-compose.test.yml's affair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

DISK = "/slo-disk"  # where the file system is mounted that `disk` gives a service


@dataclass(frozen=True)
class Told:
    """What a container is rendered from. directory: the service's own on this machine, it exists; scrape: Prometheus
    job -> address; peers: kind of built-in -> address of the stack's one of that kind, where it has one: both as seen
    from inside; token: what the sinks want to see; has_disk: whether it has a file system of its own, at DISK."""

    name: str
    directory: Path
    stack_id: str
    scale: float
    config: Path | None
    scrape: Mapping[str, str]
    peers: Mapping[str, str]
    token: str
    has_disk: bool

    def store(self, usual: str) -> str:
        """Where it keeps what it keeps. usual: where its image would."""
        return DISK if self.has_disk else usual


@dataclass(frozen=True)
class Rendered:
    """command: what comes after the image's entry point; mounts: files and directories on this machine -> where they
    are seen inside, read-only. A directory's files may be written anew; one that is mounted as a file stays as it is.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Declared:
    """ports: the name that stack.yaml knows -> the port in the container; render: writes configuration below the
    service's directory and says how to run it; to_host: whether it may have to reach processes of this machine;
    shm_bytes: shared memory, where the engine's 64 MiB are not enough; security: security options that its
    documentation asks for."""

    ports: Mapping[str, int]
    render: Callable[[Told], Rendered]
    to_host: bool = False
    shm_bytes: int | None = None
    security: tuple[str, ...] = ()
