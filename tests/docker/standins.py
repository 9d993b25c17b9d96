"""Stand-in images: each the real server of this machine behind the contract of the official image that it stands for.

That is its entry point, default command, user, ports, volumes and what it reads from the environment: see
docs/docker-images.md. Their names are those of docker-compose.test.yml behind PREFIX, testcontainers' registry prefix.
`python -m tests.docker.standins` makes them in the engine that DOCKER_HOST names, and prints what it made.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from harness.core.errors import HarnessError
from harness.stack.docker.images import pinned_images
from harness.stack.tools import Tool, resolve_tool, tool_version
from tests.docker import python_base
from tests.docker.tree import NotHere, Tree, on_path

PREFIX = "standin.local/"
LABEL = "slo-harness.standin"  # what is really in it
_HERE = Path(__file__).parent
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Standin:
    """One image. tools: names in tools.toml, the server's first; fill: puts them into a tree; the rest: the image's
    configuration, as in a Dockerfile."""

    tools: tuple[str, ...]
    fill: Callable[[Tree, Mapping[str, Tool]], None]
    entrypoint: tuple[str, ...]
    ports: tuple[int, ...]
    command: tuple[str, ...] = ()
    users: Mapping[str, int] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    volumes: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""

    def config(self, version: str, layer: str) -> dict[str, Any]:
        """The image's configuration, by the OCI image specification. layer: the digest of its only layer."""
        env = {"PATH": _PATH, **self.env}
        config: dict[str, Any] = {
            "Entrypoint": self.entrypoint,
            "Cmd": self.command,
            "Env": [f"{name}={value}" for name, value in env.items()],
            "User": self.user,
            "WorkingDir": self.workdir,
            "ExposedPorts": {f"{port}/tcp": {} for port in self.ports},
            "Volumes": {volume: {} for volume in self.volumes},
            "Labels": {LABEL: version},
        }
        if self.stop_signal:
            config["StopSignal"] = self.stop_signal
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{layer}"]}
        return {"architecture": machine, "os": "linux", "config": config, "rootfs": rootfs}


def _postgres(tree: Tree, tools: Mapping[str, Tool]) -> None:
    server = tools["postgres"]
    version = server.path.parents[1]  # .../usr/lib/postgresql/15
    share = version.parents[2] / "share" / "postgresql" / version.name
    if not (version / "lib" / "plpgsql.so").exists() or not (share / "postgres.bki").exists():
        raise NotHere(f"a PostgreSQL laid out as Debian's, around {server.path}")
    inside = f"/usr/lib/postgresql/{version.name}"
    tree.shell("bash")
    for name in ("postgres", "initdb", "pg_ctl", "pg_isready", "psql"):
        tree.program(f"{inside}/bin/{name}", version / "bin" / name, server.env)
        tree.link(f"/usr/local/bin/{name}", f"{inside}/bin/{name}")
    for library in sorted((version / "lib").glob("*.so")):
        if library.name not in ("llvmjit.so", "sepgsql.so"):  # the compiler of queries is larger than all the rest
            tree.file(f"{inside}/lib/{library.name}", library)
            tree.libraries(library, server.env)
    tree.files(f"/usr/share/postgresql/{version.name}", share, without=("*.mo", "man"))
    sample = (
        share / "postgresql.conf.sample"
    ).read_text() + "\nlisten_addresses = '*'\n"  # as the official image has it
    tree.text(f"/usr/share/postgresql/{version.name}/postgresql.conf.sample", sample)
    tree.files("/usr/lib/locale/C.utf8", Path("/usr/lib/locale/C.utf8"))
    for zone in ("UTC", "GMT", "Etc/UTC"):
        tree.file(f"/usr/share/zoneinfo/{zone}", Path("/usr/share/zoneinfo", zone))
    tree.file("/usr/local/bin/docker-entrypoint.sh", _HERE / "entrypoints" / "postgres.sh")
    tree.directory("/docker-entrypoint-initdb.d")
    tree.directory("/var/run/postgresql", mode=0o3777, owner=999)
    tree.directory("/var/lib/postgresql/data", mode=0o1777, owner=999)


def _redis(tree: Tree, tools: Mapping[str, Tool]) -> None:
    server = tools["redis-server"]
    tree.shell()
    for name in ("redis-server", "redis-cli"):
        tree.program(f"/usr/local/bin/{name}", (server.path.parent / name), server.env)
    tree.file("/usr/local/bin/docker-entrypoint.sh", _HERE / "entrypoints" / "redis.sh")
    tree.directory("/data", owner=999)


def _milvus(tree: Tree, tools: Mapping[str, Tool]) -> None:
    server = tools["milvus"]
    tree.shell("bash", "curl")
    init = next(path for path in ("tini", "docker-init") if shutil.which(path))
    tree.program("/tini", on_path(init))
    tree.file("/milvus/bin/milvus", server.path)
    tree.libraries(server.path, server.env, to="/milvus/lib")
    for library in sorted(server.path.parent.glob("*.so*")):
        tree.file(f"/milvus/lib/{library.name}", library)
    tree.file("/milvus/configs/milvus.yaml", _HERE / "entrypoints" / "milvus.yaml")
    tree.file("/milvus/configs/glog.conf", server.path.parent / "glog.conf")
    tree.directory("/var/lib/milvus")


def _prometheus(tree: Tree, tools: Mapping[str, Tool]) -> None:
    server = tools["prometheus"]
    tree.shell("wget")
    tree.program("/usr/bin/prometheus", server.path, server.env)
    tree.program("/usr/bin/promtool", tools["promtool"].path, tools["promtool"].env)
    tree.files("/usr/share/prometheus/web", _share(server, "prometheus/web"))
    tree.text("/etc/prometheus/prometheus.yml", "global: {scrape_interval: 15s}\n")
    tree.directory("/prometheus", mode=0o1777, owner=65534)


def _alertmanager(tree: Tree, tools: Mapping[str, Tool]) -> None:
    server = tools["alertmanager"]
    tree.shell("wget")
    tree.program("/usr/bin/alertmanager", server.path, server.env)
    tree.program("/usr/bin/amtool", tools["amtool"].path, tools["amtool"].env)
    tree.files("/usr/share/prometheus/alertmanager", _share(server, "prometheus/alertmanager"))
    tree.text("/etc/alertmanager/alertmanager.yml", "route: {receiver: none}\nreceivers: [{name: none}]\n")
    tree.directory("/alertmanager", mode=0o1777, owner=65534)


def _loki(tree: Tree, tools: Mapping[str, Tool]) -> None:
    tree.program("/usr/bin/loki", tools["loki"].path, tools["loki"].env)
    tree.directory("/etc/loki")
    tree.directory("/loki", owner=10001)


def _postgres_exporter(tree: Tree, tools: Mapping[str, Tool]) -> None:
    tree.shell("wget")
    tree.program("/usr/bin/postgres_exporter", tools["postgres-exporter"].path, tools["postgres-exporter"].env)


def _redis_exporter(tree: Tree, tools: Mapping[str, Tool]) -> None:
    tree.program("/redis_exporter", tools["redis-exporter"].path, tools["redis-exporter"].env)


def _share(tool: Tool, what: str) -> Path:
    """Where a packaged program's shared files are: beside it, or the machine's. Upstream programs have none."""
    beside = tool.path.parent.parent / "share" / what
    return beside if beside.exists() else Path("/usr/share") / what


STANDINS: Mapping[str, Standin] = {
    "postgres": Standin(
        ("postgres", "initdb"),
        _postgres,
        ("docker-entrypoint.sh",),
        (5432,),
        ("postgres",),
        users={"postgres": 999},
        volumes=("/var/lib/postgresql/data",),
        env={"PGDATA": "/var/lib/postgresql/data", "LANG": "C.UTF-8"},
        stop_signal="SIGINT",
    ),
    "redis": Standin(
        ("redis-server",),
        _redis,
        ("docker-entrypoint.sh",),
        (6379,),
        ("redis-server",),
        users={"redis": 999},
        workdir="/data",
        volumes=("/data",),
    ),
    "milvus": Standin(
        ("milvus",),
        _milvus,
        ("/tini", "--"),
        (),
        workdir="/milvus",
        env={"PATH": f"/milvus/bin:{_PATH}", "LD_LIBRARY_PATH": "/milvus/lib"},
    ),
    "prometheus": Standin(
        ("prometheus", "promtool"),
        _prometheus,
        ("/bin/prometheus",),
        (9090,),
        ("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"),
        user="nobody",
        workdir="/prometheus",
        volumes=("/prometheus",),
    ),
    "alertmanager": Standin(
        ("alertmanager", "amtool"),
        _alertmanager,
        ("/bin/alertmanager",),
        (9093,),
        ("--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"),
        user="nobody",
        workdir="/alertmanager",
        volumes=("/alertmanager",),
    ),
    "loki": Standin(
        ("loki",),
        _loki,
        ("/usr/bin/loki",),
        (3100,),
        ("-config.file=/etc/loki/local-config.yaml",),
        users={"loki": 10001},
        user="10001",
    ),
    "postgres-exporter": Standin(
        ("postgres-exporter",), _postgres_exporter, ("/bin/postgres_exporter",), (9187,), user="nobody"
    ),
    "redis-exporter": Standin(("redis-exporter",), _redis_exporter, ("/redis_exporter",), (9121,), user="59000:59000"),
}

# what an image is built on, and not run itself
BASES: Mapping[str, Standin] = {
    "python": Standin((), lambda tree, _: python_base.fill(tree), (), (), ("python3",), env=python_base.ENV),
}


def names() -> dict[str, str]:
    """Kind -> the name of the official image, before any prefix."""
    return {**pinned_images(), "python": python_base.name()}


def key() -> str:
    """What the images are made of on this machine, as one word: other servers or other recipes, another word."""
    own = [Path(__file__), _HERE / "tree.py", _HERE / "python_base.py", python_base.LOCK]
    sources = [*sorted(_HERE.glob("entrypoints/*")), *own]
    told: list[Any] = [names(), sys.version, [path.read_text() for path in sources]]
    for name in sorted({name for standin in STANDINS.values() for name in standin.tools}):
        try:
            path = resolve_tool(name).path
            told.append((name, str(path), path.stat().st_size, path.stat().st_mtime_ns))
        except HarnessError as error:
            told.append((name, error.slug))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def make(client: docker.DockerClient, kind: str) -> str:
    """Make the stand-in of `kind` and return its name. Raises NotHere, HarnessError: what it needs is not here."""
    standin = {**STANDINS, **BASES}[kind]
    tools = {name: resolve_tool(name) for name in standin.tools}
    tree = Tree(standin.users)
    standin.fill(tree, tools)
    name = PREFIX + names()[kind]
    version = (
        "; ".join(f"{tool}: {tool_version(tools[tool])}" for tool in standin.tools[:1]) or platform.python_version()
    )
    with tempfile.TemporaryDirectory(prefix="slo-standin-") as directory:
        layer = Path(directory, "layer.tar")
        with layer.open("w+b") as file:
            tree.write(file)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        config = json.dumps(standin.config(version, digest)).encode()
        manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        Path(directory, "config.json").write_bytes(config)
        Path(directory, "manifest.json").write_text(json.dumps(manifest))
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                for member in ("manifest.json", "config.json", "layer.tar"):
                    tar.add(Path(directory, member), member)
            archive.seek(0)
            client.images.load(archive)
    return name


def main() -> None:
    """Make all that can be made here, and say why not of the others: who wants one of those finds it missing."""
    client = docker.from_env()
    for kind in (*STANDINS, *BASES):
        started = time.monotonic()
        try:
            print(f"{make(client, kind)} in {time.monotonic() - started:.1f} s", flush=True)
        except (NotHere, HarnessError) as error:
            print(f"no stand-in for {kind}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
