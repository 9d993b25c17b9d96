"""Milvus standalone with the etcd that is built into it and local storage, as its own script runs the image."""

from __future__ import annotations

from harness.stack.docker.services.declared import Declared, Rendered, Told
from harness.stack.services.milvus import tuned
from harness.stack.services.rendering import dump_yaml

_PLACE = "/milvus/configs"


def _render(told: Told) -> Rendered:
    user, etcd = told.directory / "user.yaml", told.directory / "embedEtcd.yaml"
    store = told.store("/var/lib/milvus")
    settings = tuned()
    if told.has_disk:
        settings |= {"localStorage": {"path": f"{store}/data"}, "rocksmq": {"path": f"{store}/rocksmq"}}
    dump_yaml(user, settings)
    dump_yaml(etcd, _etcd(f"{store}/etcd"))
    env = {
        "DEPLOY_MODE": "STANDALONE",
        "ETCD_USE_EMBED": "true",
        "ETCD_DATA_DIR": f"{store}/etcd",
        "ETCD_CONFIG_PATH": f"{_PLACE}/embedEtcd.yaml",
        "COMMON_STORAGETYPE": "local",
    }
    # Single files: the image keeps others beside them, which must stay.
    mounts = {user: f"{_PLACE}/user.yaml", etcd: f"{_PLACE}/embedEtcd.yaml"}
    return Rendered(("milvus", "run", "standalone"), env, mounts)


def _etcd(store: str) -> dict[str, object]:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return {
        "name": "default",
        "data-dir": store,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": True,
        "log-level": "warn",
    }


DECLARED = Declared({"grpc": 19530, "metrics": 9091}, _render, security=("seccomp=unconfined",))
