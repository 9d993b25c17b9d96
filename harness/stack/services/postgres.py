"""PostgreSQL from a cached, freshly initialised data directory."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import subprocess

from harness.core.paths import cache_dir
from harness.stack.isolation import user_namespaces
from harness.stack.probes import tcp_ask
from harness.stack.services.recipe import Command, Context, Plan, Recipe

NOBODY = "65534"
_INITDB = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
_LIBRARY = "pg_stat_statements"  # of PostgreSQL's own contrib modules, in the same package
# What every stack wants of its PostgreSQL: statement statistics, and a role that may read them and nothing else.
SQL = (
    "CREATE EXTENSION pg_stat_statements;",
    "CREATE ROLE exporter LOGIN CONNECTION LIMIT 5;",
    "GRANT pg_monitor TO exporter;",
)
SETTINGS = {
    "max_connections": "100",
    "shared_preload_libraries": _LIBRARY,
    "pg_stat_statements.track": "all",
    "track_io_timing": "on",
    "shared_buffers": "64MB",
    # A stack's data dies with it, so nothing waits for the disk: latencies are of the work, not of fsync.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "logging_collector": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_HERE = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # files in the data directory, not /dev/shm
}

# $1 the template in the cache, $2 the data directory, $3 where to copy it on the way into the cache, $4 the commands
# that make the data directory. A single-user server ends with 0 whatever it thinks of the SQL, so its words are read.
_PREPARE = """
set -u
template=$1 data=$2 new=$3
if [ -f "$template/PG_VERSION" ]; then
  exec cp -a --reflink=auto "$template" "$data"
fi
eval "$4" >"$data.log" 2>&1 || { cat "$data.log"; exit 1; }
cat "$data.log"
if grep -E "ERROR|FATAL|PANIC" "$data.log"; then exit 1; fi
mkdir -p "$(dirname "$new")" && cp -a "$data" "$new" && mv -T "$new" "$template" || rm -rf "$new"
exit 0
"""


def _as_someone_else() -> tuple[str, ...]:
    """PostgreSQL refuses to run as root: a user namespace in which root is nobody, or really nobody."""
    if os.geteuid() != 0:
        return ()
    if user_namespaces():
        return ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--")
    # The state directory is root's alone, so nobody needs the right to pass through it.
    rights = ("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override", "--pdeathsig", "KILL")
    return ("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", *rights, "--")


def _render(context: Context) -> Plan:
    server, initdb = context.tool("postgres"), context.tool("initdb")
    prefix = _as_someone_else()
    data = context.store / "data"
    done = subprocess.run(
        [initdb.path, "--version"], capture_output=True, text=True, timeout=20, check=True, env={**initdb.env}
    )
    recipe = (done.stdout.strip(), str(initdb.path), _INITDB, SQL)
    key = hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]
    templates = cache_dir() / "postgres"
    templates.mkdir(parents=True, exist_ok=True)
    init = shlex.join((*prefix, str(initdb.path), "-D", str(data), *_INITDB))
    preload = ("-c", f"shared_preload_libraries={_LIBRARY}", "-c", "dynamic_shared_memory_type=mmap")
    single = shlex.join((*prefix, str(server.path), "--single", "-D", str(data), *preload, "postgres"))
    make = f"{init} && printf '%s\\n' {shlex.join(SQL)} | {single}"
    if prefix[:1] == ("setpriv",):
        make = f'mkdir -m 700 "$data" && chown {NOBODY}:{NOBODY} "$data" && {make}'
        key += "-nobody"
    paths = (str(templates / key), str(data), str(context.scratch / context.name))
    prepare = Command(("sh", "-c", _PREPARE, "prepare", *paths, make), initdb.env)
    settings = {**_HERE, **SETTINGS, "port": str(context.ports["sql"])}
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return Plan(Command((*prefix, str(server.path), "-D", str(data), *options), server.env), (prepare,))


def _probe(context: Context) -> str | None:
    """The version from the parameters that the server tells each client that logs in."""
    words = b"user\0postgres\0database\0postgres\0\0"
    hello = (len(words) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + words
    ready = b"Z\0\0\0\x05I"  # ready for query, idle
    answer = tcp_ask(context.address("sql"), hello, ready)
    found = re.search(rb"server_version\0([^\0]+)\0", answer or b"")
    return found[1].decode() if found else None


RECIPE = Recipe(
    tools=("postgres", "initdb"), ports=("sql",), render=_render, probe=_probe, grace=5.0, stop_signal=signal.SIGINT
)
