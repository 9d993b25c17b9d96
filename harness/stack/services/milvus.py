"""Milvus standalone: the real server of the wheel, with a configuration of our own so that two do not collide."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.stack.probes import http_get
from harness.stack.services.recipe import Command, Context, Plan, Recipe

_PRIVATE = ("etcd", "etcd-peer", "root", "proxy", "query", "query-node", "index-node", "data", "data-node")
# Seconds that a Milvus which got SIGKILL counts as alive for its successor, which loads nothing meanwhile: its default
# of 60 makes that a minute. One that was stopped for longer finds its session gone, begins to end, and hangs in that.
SESSION = 20
_GLOG = "--logtostderr=true\n--stderrthreshold=0\n--minloglevel=1\n"

# Milvus writes to /tmp/milvus and /run/milvus whatever it is told, and by process ids that repeat in PID namespaces:
# it gets directories of its own there. $1 its temporary directory, $2 what must stay visible below /tmp, if anything.
_OWN_TMP = """
mkdir -p "$1/tmp" "$1/run" || exit 1
own=$1
shift
while [ "$1" != -- ]; do
  mkdir -p "$own$1" && mount --rbind "$1" "$own$1" || exit 1
  shift
done
shift
mount --rbind "$own/tmp" /tmp && mount --rbind "$own/run" /run || exit 1
exec "$@"
"""

# Without a mount namespace: note what it will write there, for whoever removes the stack. $1 the notes, then paths.
_SHARED_TMP = """
notes=$1
shift
echo "/tmp/milvus/server_id_$$" >>"$notes"
while [ "$1" != -- ]; do
  echo "$1" >>"$notes"
  shift
done
shift
exec "$@"
"""


def _render(context: Context) -> Plan:
    tool = context.tool("milvus")
    own, conf = context.directory, context.directory / "conf"
    conf.mkdir()
    _dump(conf / "milvus.yaml", _milvus(context))
    _dump(conf / "etcd.yaml", _etcd(context))
    (conf / "glog.conf").write_text(_GLOG)
    env = {
        **tool.env,
        "DEPLOY_MODE": "STANDALONE",
        "METRICS_PORT": str(context.ports["metrics"]),
        "MILVUSCONF": str(conf),
    }
    alias = f"slo-{context.stack_id}-{context.name}"
    argv: tuple[str, ...] = (str(tool.path), "run", "standalone", "-alias", alias)
    if context.isolation == "subreaper":
        strays = [f"{base}/milvus/standalone-{alias}.pid" for base in ("/run", "/tmp")]
        argv = ("sh", "-c", _SHARED_TMP, "milvus", str(context.outside), *strays, "--", *argv)
    else:
        seen = [path for path in (own.parent, tool.path.parent) if path.is_relative_to("/tmp")]
        seen += [path for path in (own.parent, tool.path.parent) if path.is_relative_to("/run")]
        wrapper = ("unshare", "--mount", "sh", "-c", _OWN_TMP, "milvus", str(own / "system"))
        argv = (*wrapper, *map(str, dict.fromkeys(seen)), "--", *argv)
    return Plan(Command(argv, env))


def tuned() -> dict[str, Any]:
    """What every stack wants of its Milvus, wherever it runs."""
    return {
        "mq": {"type": "rocksmq"},
        "rocksmq": {"rocksmqPageSize": 64 << 20},
        "rootCoord": {"dmlChannelNum": 2},
        "proxy": {"http": {"enabled": True}},
        "queryCoord": {
            # how often it looks whether there is something to load: its defaults cost a fresh stack three seconds
            "checkInterval": 200,
            "checkSegmentInterval": 100,
            "checkChannelInterval": 100,
            "distPullInterval": 100,
            "checkIndexInterval": 500,
            "leaderViewUpdateInterval": 1,
            "checkHandoffInterval": 500,
        },
        "indexCoord": {"bindIndexNodeMode": {"enable": False}, "scheduler": {"interval": 100}},
        "dataCoord": {"segment": {"maxSize": 1024}},
        "log": {"level": "warn", "stdout": True, "file": {"rootPath": ""}},
        "common": {"storageType": "local", "gracefulStopTimeout": 1, "session": {"ttl": SESSION}},
        "minio": {"rootPath": "files"},
        "trace": {"exporter": "noop", "sampleFraction": 0},
    }


def _milvus(context: Context) -> dict[str, Any]:
    own, store, port = context.directory, context.store, context.ports
    host, settings = "127.0.0.1", tuned()
    here: dict[str, dict[str, Any]] = {
        "etcd": {
            "endpoints": f"{host}:{port['etcd']}",
            "use": {"embed": True},
            "data": {"dir": str(store / "etcd")},
            "config": {"path": str(own / "conf/etcd.yaml")},
            "log": {"level": "warn", "path": str(own / "etcd.log")},
        },
        "localStorage": {"path": str(store / "data")},
        "rocksmq": {"path": str(store / "rocksmq")},
        "rootCoord": {"ip": host, "port": port["root"]},
        "proxy": {"ip": host, "port": port["grpc"], "internalPort": port["proxy"]},
        "queryCoord": {"ip": host, "port": port["query"]},
        "queryNode": {"ip": host, "port": port["query-node"]},
        "indexNode": {"ip": host, "port": port["index-node"]},
        "dataCoord": {"ip": host, "port": port["data"]},
        "dataNode": {"ip": host, "port": port["data-node"]},
    }
    return settings | {name: {**settings.get(name, {}), **section} for name, section in here.items()}


def _etcd(context: Context) -> dict[str, Any]:
    client, peer = (f"http://{context.address(name)}" for name in ("etcd", "etcd-peer"))
    return {
        "name": "default",
        "data-dir": str(context.store / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": True,
        "log-level": "warn",
    }


def _dump(path: Path, value: dict[str, Any]) -> None:
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(value, file)


def _probe(context: Context) -> str | None:
    """The version that the proxy reports by gRPC, which also shows that it takes requests."""
    if b"OK" not in (http_get(context.address("metrics"), "/healthz") or b""):
        return None
    grpc: Any = import_module("grpc")  # heavy, has no types, and is needed here alone
    with grpc.insecure_channel(context.address("grpc")) as channel:
        ask = channel.unary_unary("/milvus.proto.milvus.MilvusService/GetVersion")
        try:
            reply: bytes = ask(b"", timeout=1.0)
        except grpc.RpcError:
            return None
    found = re.search(rb"\x12[\x01-\x7f]v?(\d[\w.+-]*)", reply)  # field 2 of GetVersionResponse
    return found[1].decode() if found else ""


RECIPE = Recipe(
    tools=("milvus",),
    ports=("grpc", "metrics", *_PRIVATE),
    render=_render,
    probe=_probe,
    grace=1.0,  # with a loaded collection it ignores SIGTERM for more than 40 s
    metrics=("metrics", "/metrics"),
    longest_pause=SESSION * 0.6,  # it is renewed every third of its time
)
