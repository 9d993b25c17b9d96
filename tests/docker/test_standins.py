"""Each stand-in keeps the part of its official image's contract that we rely on: docs/docker-images.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from harness.stack.docker.images import image_of
from harness.stack.services import RECIPES
from tests.docker.standins import LABEL, PREFIX, STANDINS

_READY_S = 120.0
Run = Callable[..., Container]


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    return docker.from_env()


@pytest.fixture
def run(client: docker.DockerClient) -> Iterator[Run]:
    """Starts the image of a kind; all of them go at the end, with their volumes."""
    started: list[Container] = []

    def start(kind: str, *command: str, **more: Any) -> Container:
        started.append(client.containers.run(image_of(kind), list(command) or None, detach=True, **more))
        return started[-1]

    yield start
    for container in started:
        container.remove(force=True, v=True)


def _until(container: Container, command: list[str]) -> str:
    """What the command prints in the container once it ends well there."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        container.reload()
        assert container.status == "running", container.logs().decode()
        code, output = container.exec_run(command)
        if code == 0:
            return str(output.decode()).strip()
        time.sleep(0.1)
    raise AssertionError(f"{command}: {output.decode()}\n{container.logs(tail=30).decode()}")


def _users(container: Container) -> set[str]:
    """The user ids of its processes, as this machine's ps names them."""
    top = container.top(ps_args="-eo pid,uid,args")
    return {process[top["Titles"].index("UID")] for process in top["Processes"]}


def test_there_is_one_for_every_image_and_it_says_what_is_in_it(client: docker.DockerClient) -> None:
    assert set(STANDINS) == set(RECIPES) - {"otlp-sink", "webhook-sink"}
    for kind in STANDINS:
        image = client.images.get(image_of(kind))
        assert image_of(kind).startswith(PREFIX)
        assert image.labels[LABEL], kind
        assert len(image.attrs["RootFS"]["Layers"]) == 1, kind


def test_postgres_wants_a_password_or_trust(run: Run) -> None:
    refused = run("postgres")
    assert refused.wait(timeout=_READY_S)["StatusCode"] == 1
    assert "POSTGRES_PASSWORD is not set" in refused.logs().decode()


def test_postgres_sets_up_what_its_environment_says_once(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # the server's user reads it
    (tmp_path / "1-table.sql").write_text("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('from sql');\n")
    script = 'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO kept VALUES (\'from sh\')"\n'
    (tmp_path / "2-script.sh").write_text(script)
    container = run(
        "postgres",
        *("-c", "max_connections=33"),
        environment={"POSTGRES_USER": "someone", "POSTGRES_PASSWORD": "secret", "POSTGRES_DB": "things"},
        volumes={str(tmp_path): {"bind": "/docker-entrypoint-initdb.d", "mode": "ro"}},
    )
    told = ["psql", "--no-psqlrc", "-At", "-h", "127.0.0.1", "-U", "someone", "-d", "things", "-c"]
    words = [*told, "SELECT word FROM kept ORDER BY word"]
    assert _until(container, words).splitlines() == ["from sh", "from sql"]
    assert _until(container, [*told, "SHOW max_connections"]) == "33"
    assert _users(container) == {"999"}
    container.restart(timeout=30)
    assert _until(container, words).splitlines() == ["from sh", "from sql"]
    from_elsewhere = [*told, "SELECT 1"]
    from_elsewhere[from_elsewhere.index("127.0.0.1")] = container.attrs["NetworkSettings"]["IPAddress"]
    code, output = container.exec_run(from_elsewhere)
    assert code != 0
    assert b"no password supplied" in output
    code, _ = container.exec_run(from_elsewhere, environment={"PGPASSWORD": "secret"})
    assert code == 0


def test_postgres_ends_well_by_the_stop_signal_of_its_image(run: Run, client: docker.DockerClient) -> None:
    assert client.images.get(image_of("postgres")).attrs["Config"]["StopSignal"] == "SIGINT"
    container = run("postgres", environment={"POSTGRES_HOST_AUTH_METHOD": "trust"})
    _until(container, ["pg_isready", "-h", "127.0.0.1"])
    container.stop(timeout=60)
    assert container.wait()["StatusCode"] == 0


def test_redis_takes_options_runs_as_its_user_and_answers_others(run: Run) -> None:
    container = run("redis", "--maxmemory", "33mb")
    assert _until(container, ["redis-cli", "config", "get", "maxmemory"]).split() == ["maxmemory", str(33 << 20)]
    assert _users(container) == {"999"}
    address = container.attrs["NetworkSettings"]["IPAddress"]
    assert _until(container, ["redis-cli", "-h", address, "ping"]) == "PONG"


def test_milvus_takes_its_etcd_and_storage_from_the_environment(run: Run) -> None:
    env = {
        "DEPLOY_MODE": "STANDALONE",
        "ETCD_USE_EMBED": "true",
        "ETCD_DATA_DIR": "/var/lib/milvus/elsewhere",
        "COMMON_STORAGETYPE": "local",
    }
    container = run("milvus", "milvus", "run", "standalone", environment=env)
    assert _until(container, ["curl", "-sf", "http://localhost:9091/healthz"]) == "OK"
    assert _until(container, ["ls", "/var/lib/milvus/elsewhere"]) == "member"


@pytest.mark.parametrize(
    ("kind", "port", "user"),
    [("prometheus", 9090, "65534"), ("alertmanager", 9093, "65534")],
)
def test_the_watchers_run_without_a_word_as_nobody(run: Run, kind: str, port: int, user: str) -> None:
    container = run(kind)
    _until(container, ["wget", "-q", "-O", "-", f"http://localhost:{port}/-/ready"])
    assert _users(container) == {user}


def test_loki_runs_as_its_user_and_holds_no_shell(run: Run) -> None:
    config = {str(Path(__file__).parents[2] / "monitoring" / "loki"): {"bind": "/etc/loki", "mode": "ro"}}
    container = run("loki", "-config.file=/etc/loki/loki.yaml", volumes=config)
    container.reload()
    assert container.status == "running", container.logs().decode()
    assert _users(container) == {"10001"}
    code, output = container.exec_run(["sh", "-c", "true"])
    assert code in (126, 127)
    assert b"executable file not found" in output
