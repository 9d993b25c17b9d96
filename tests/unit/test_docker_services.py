"""Built-in services as containers: what each is rendered to, from a view of addresses as it is inside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.model.builtins import BUILTINS
from harness.model.stackfile import StackFile, load_stackfile
from harness.stack.docker.bringup import contained, refuse_remote
from harness.stack.docker.engine import Engine
from harness.stack.docker.hosts import Host
from harness.stack.docker.images import pinned_images
from harness.stack.docker.services import DECLARED
from harness.stack.docker.services.declared import DISK, Rendered, Told
from harness.stack.docker.services.milvus import as_environment
from harness.stack.docker.view import Inside
from harness.stack.layout import Layout, all_ports, ports_needed
from harness.stack.services.milvus import SESSION
from harness.telemetry.line_file import LineFile
from harness.telemetry.sink import Token
from harness.telemetry.webhook_sink import WebhookSink

ROOT = Path(__file__).parent.parent.parent
PEERS = {
    "postgres": "db:5432",
    "redis": "cache:6379",
    "alertmanager": "alerts:9093",
    "webhook-sink": "host.docker.internal:20001",
}


@pytest.fixture(scope="module")
def file() -> StackFile:
    return load_stackfile(ROOT / "stack.yaml")[0]


@pytest.fixture
def view(file: StackFile) -> Inside:
    """The reference stack; every port is 20000 and its place in the file."""
    names = [(name, port) for name, one in file.spec.services.items() for port in one.port_names]
    ports: dict[str, dict[str, int]] = {}
    for number, (name, port) in enumerate(names, 20_000):
        ports.setdefault(name, {})[port] = number
    links = dict(zip(file.spec.links, range(21_000, 22_000), strict=False))
    return Inside(Layout(file, ROOT, Path("/nowhere"), ports, links), contained(file))


def told(directory: Path, **more: Any) -> Told:
    usual: dict[str, Any] = {
        "name": "one",
        "directory": directory,
        "stack_id": "abc",
        "scale": 15.0,
        "config": None,
        "scrape": {},
        "peers": PEERS,
        "token": "t0ken",
        "has_disk": False,
    }
    return Told(**{**usual, **more})


def rendered(kind: str, directory: Path, **more: Any) -> Rendered:
    return DECLARED[kind].render(told(directory, **more))


def yaml_of(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def test_a_container_is_known_by_its_name_and_a_process_through_the_relay(view: Inside) -> None:
    assert view.address("postgres.sql") == "postgres:5432"
    assert not view.asked
    number = view.layout.port("app.http")
    assert view.address("app.http") == f"host.docker.internal:{number}"
    assert view.asked == {number}
    with pytest.raises(KeyError):
        view.address("app.nothing")


def test_prometheus_scrapes_each_job_where_it_is_inside(view: Inside, file: StackFile) -> None:
    jobs = view.scrape()
    assert list(jobs) == list(file.spec.scrape)
    assert jobs["milvus"] == "milvus:9091"
    processes = {"app", "model-server", "refresher"}
    assert view.asked == {view.layout.port(f"{name}.http") for name in processes}


def test_alertmanager_notifies_the_sink_through_the_relay(view: Inside) -> None:
    port = view.layout.port("notifications.http")
    assert view.peers("alertmanager") == {"webhook-sink": f"host.docker.internal:{port}"}
    assert view.peers("postgres-exporter") == {"postgres": "postgres:5432"}
    assert view.peers("app") == {}


def test_placeholders_read_as_they_are_inside(view: Inside) -> None:
    link = view.layout.links["app->redis"]
    text = "${address:redis.resp} ${port:milvus.grpc} ${link:app->redis} ${scale}"
    assert view.filled("app", text) == f"redis:6379 19530 host.docker.internal:{link} 15"
    assert view.asked == {link}


def test_every_kind_that_has_an_image_is_declared_with_the_ports_that_others_may_name() -> None:
    assert set(DECLARED) == set(pinned_images())
    for kind, declared in DECLARED.items():
        assert tuple(declared.ports) == BUILTINS[kind].ports, kind


def test_a_container_takes_no_private_ports_of_the_machine(file: StackFile) -> None:
    milvus = file.spec.services["milvus"]
    assert all_ports(milvus, "docker") == ("grpc", "metrics")
    assert ports_needed(file) - ports_needed(file, "docker") == len(all_ports(milvus)) - 2 + 1  # and Loki's gRPC


def test_an_engine_that_is_reached_over_a_network_is_refused() -> None:
    refuse_remote(Engine(Host("unix:///run/docker.sock")))
    with pytest.raises(Exception, match="reached at tcp://far:2375") as raised:
        refuse_remote(Engine(Host("tcp://far:2375")))
    assert getattr(raised.value, "slug", "") == "engine-not-local"


def test_postgres_gets_its_sql_by_the_entry_point_and_its_data_on_the_disk(tmp_path: Path) -> None:
    made = rendered("postgres", tmp_path)
    assert made.command[0] == "postgres" and "shared_preload_libraries=pg_stat_statements" in made.command
    assert "unix_socket_directories=" not in made.command  # the entry point's psql speaks to the image's own
    assert made.env["POSTGRES_HOST_AUTH_METHOD"] == "trust" and "PGDATA" not in made.env
    (mount,) = made.mounts
    assert made.mounts[mount] == "/docker-entrypoint-initdb.d"
    (script,) = mount.iterdir()
    assert script.suffix == ".sql" and "CREATE ROLE exporter" in script.read_text()
    (tmp_path / "disk").mkdir()
    assert rendered("postgres", tmp_path / "disk", has_disk=True).env["PGDATA"].startswith(DISK)


def test_redis_keeps_nothing_and_lets_its_network_in(tmp_path: Path) -> None:
    command = rendered("redis", tmp_path).command
    said = dict(zip(command[1::2], command[2::2], strict=True))
    assert said == {"--save": "", "--appendonly": "no", "--daemonize": "no", "--dir": "/data", "--protected-mode": "no"}


def test_milvus_takes_its_settings_from_variables(tmp_path: Path) -> None:
    made = rendered("milvus", tmp_path)
    assert made.command == ("milvus", "run", "standalone")
    assert made.env["COMMON_STORAGETYPE"] == "local"
    assert made.env["COMMON_SESSION_TTL"] == str(SESSION)
    assert made.env["ETCD_USE_EMBED"] == "true"
    assert made.env["ETCD_DATA_DIR"] == "/var/lib/milvus/etcd" == yaml_of(tmp_path / "embedEtcd.yaml")["data-dir"]
    assert len({value for name, value in made.env.items() if name.endswith("PORT")}) == 8
    assert as_environment({"a": {"bC": {"d": False}}, "e": 1.5}) == {"A_BC_D": "false", "E": "1.5"}
    assert rendered("milvus", tmp_path, has_disk=True).env["ROCKSMQ_PATH"] == f"{DISK}/rdb_data"


def test_prometheus_reads_the_production_configuration_in_its_mount(tmp_path: Path) -> None:
    config = ROOT / "monitoring/prometheus/prometheus.yml"
    made = rendered("prometheus", tmp_path, config=config, scrape={"milvus": "milvus:9091"})
    assert made.mounts == {tmp_path: "/etc/prometheus"}
    assert "--config.file=/etc/prometheus/prometheus.yml" in made.command
    written = yaml_of(tmp_path / "prometheus.yml")
    (job,) = written["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["milvus:9091"]}]
    assert written["global"]["scrape_interval"] == "1000ms"
    assert written["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["alerts:9093"]}]}]


def test_rule_files_are_copied_to_where_prometheus_sees_them(tmp_path: Path) -> None:
    for name in ("a/x.yml", "b/x.yml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"groups: [] # {name}\n")
    (tmp_path / "prometheus.yml").write_text("rule_files: [a/*.yml, b/x.yml, a/x.yml]\nscrape_configs: []\n")
    own = tmp_path / "own"
    own.mkdir()
    rendered("prometheus", own, config=tmp_path / "prometheus.yml", scale=1.0)
    written = yaml_of(own / "prometheus.yml")["rule_files"]
    assert written == ["/etc/prometheus/rules/000-x.yml", "/etc/prometheus/rules/001-x.yml"]
    assert "a/x.yml" in (own / "rules/000-x.yml").read_text() and "b/x.yml" in (own / "rules/001-x.yml").read_text()


def test_alertmanager_shows_the_sink_its_token(tmp_path: Path) -> None:
    made = rendered("alertmanager", tmp_path, config=ROOT / "monitoring/alertmanager/alertmanager.yml")
    assert made.mounts == {tmp_path: "/etc/alertmanager"}
    for receiver in yaml_of(tmp_path / "alertmanager.yml")["receivers"]:
        (webhook,) = receiver["webhook_configs"]
        assert webhook["url"].startswith("http://host.docker.internal:20001/notify/")
        assert webhook["http_config"] == {"authorization": {"credentials": "t0ken"}}


def test_loki_listens_for_its_network_and_reads_what_faults_change_in_its_mount(tmp_path: Path) -> None:
    made = rendered("loki", tmp_path, config=ROOT / "monitoring/loki/loki.yaml")
    assert made.mounts == {tmp_path: "/etc/loki"} and made.command == ("-config.file=/etc/loki/loki.yaml",)
    written = yaml_of(tmp_path / "loki.yaml")
    assert written["server"]["http_listen_address"] == "0.0.0.0"
    assert written["server"]["http_listen_port"] == DECLARED["loki"].ports["http"]
    assert written["common"]["path_prefix"] == "/loki/data"
    assert written["runtime_config"]["file"] == "/etc/loki/runtime.yaml"
    assert (tmp_path / "runtime.yaml").exists()


def test_exporters_look_for_their_store_by_its_name(tmp_path: Path) -> None:
    queries = ROOT / "monitoring/postgres-exporter/queries.yml"
    made = rendered("postgres-exporter", tmp_path, config=queries)
    assert made.env["DATA_SOURCE_NAME"].startswith("postgresql://exporter@db:5432/postgres?")
    (flag,) = [one for one in made.command if one.startswith("--extend.query-path=")]
    assert flag.endswith("/etc/postgres-exporter/queries.yml")
    assert (tmp_path / "queries.yml").read_bytes() == queries.read_bytes()
    assert rendered("postgres-exporter", tmp_path).mounts == {}
    assert rendered("redis-exporter", tmp_path).env == {"REDIS_ADDR": "redis://cache:6379"}


@pytest.mark.parametrize(
    ("shown", "status"), [(None, 401), (b"Bearer guess", 401), (b"t0ken", 401), (b"Bearer t0ken", 200)]
)
def test_a_sink_with_a_token_takes_a_notification_from_who_shows_it(
    tmp_path: Path, shown: bytes | None, status: int
) -> None:
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    sink = WebhookSink(LineFile(tmp_path / "lines", 1 << 20), Token("t0ken"))
    headers = [] if shown is None else [(b"authorization", shown)]
    scope = {"type": "http", "method": "POST", "path": "/notify/x", "headers": headers}
    asyncio.run(sink(scope, receive, send))
    sink.file.close()
    assert said[0]["status"] == status
    assert (sink.received, sink.refused) == ((1, 0) if status == 200 else (0, 1))
    assert (tmp_path / "lines").read_bytes().count(b"\n") == sink.received
