"""PostgreSQL as the official image runs it: its entry point makes the data directory, and runs our SQL once."""

from __future__ import annotations

from harness.stack.docker.services.declared import DISK, Declared, Rendered, Told
from harness.stack.services.postgres import SETTINGS, SQL


def _render(told: Told) -> Rendered:
    init = told.directory / "init"
    init.mkdir()
    (init / "slo-harness.sql").write_text("\n".join(SQL) + "\n")
    env = {
        "POSTGRES_USER": "postgres",
        "POSTGRES_HOST_AUTH_METHOD": "trust",
        "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C --no-sync --no-instructions",
    }
    if told.has_disk:
        env["PGDATA"] = f"{DISK}/data"  # below the mount, whose owner is the engine
    options = [
        part for key, value in {"listen_addresses": "*", **SETTINGS}.items() for part in ("-c", f"{key}={value}")
    ]
    return Rendered(("postgres", *options), env, {init: "/docker-entrypoint-initdb.d"})


DECLARED = Declared({"sql": 5432}, _render, shm_bytes=256 << 20)
