"""What a stack is like while nothing is broken: services, settings, locks, limits, mounts, targets, faults; and what
differs between two such pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg2
import redis
import requests
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness.core.errors import HarnessError
from harness.stack import procfs
from harness.stack.control import Control
from harness.stack.handle import Stack
from harness.telemetry.local import local_get, local_post

Picture = dict[str, str]
WAIT = 2.0  # seconds for a reply
ROUGH = 1 << 20  # bytes of a service's mount that come and go
OURS = "slo-harness-steady"


def picture(stack: Stack) -> Picture:
    """Everything that a fault might have changed, by name. What cannot be asked says why, which differs as well."""
    found: Picture = {}
    control = Control(stack.id)
    try:
        for look in (_services, _processes, _undo_list, _mounts):
            found |= look(stack, control)
    finally:
        control.close()
    found |= _links(stack)
    for name, one in stack.file.spec.services.items():
        if name not in stack.unavailable and one.use in _SETTINGS:
            found |= _asked(name, lambda name=name, use=one.use: _SETTINGS[use](stack, name))  # type: ignore[misc]
    return found


def difference(before: Picture, after: Picture) -> list[str]:
    """One line for each thing that is another."""
    return [
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _asked(name: str, ask: Callable[[], Picture]) -> Picture:
    try:
        return ask()
    except (psycopg2.Error, redis.RedisError, requests.RequestException, HarnessError, OSError, KeyError) as error:
        return {f"{name} answers": f"{type(error).__name__}: {str(error)[:200]}"}


def _services(stack: Stack, _: Control) -> Picture:
    found = {f"{one.name} is": one.state for one in stack.services()}
    lasting = [name for name, state in found.items() if state == "healthy"]
    for name in (one.removesuffix(" is") for one in lasting):
        found |= _asked(name, lambda name=name: {f"{name} is ready": str(stack.is_ready(name))})  # type: ignore[misc]
    return found


def _processes(_: Stack, control: Control) -> Picture:
    """Which there are, whether any is stopped, and the resource limits of each kind. Those of jobs and of undo programs
    that have ended do not count."""
    running = {
        one["pid"]: name for name, one in control.ask("status")["processes"].items() if one["state"] == "running"
    }
    outside = procfs.outside_pids(set(running), control.supervisor_pid)
    trees = procfs.trees({running[inside]: pid for inside, pid in outside.items()})
    found = {"processes": ", ".join(sorted(running.values()))}
    for name, pids in trees.items():
        stopped = sum((known := procfs.stat(pid)) is not None and known[0] in "Tt" for pid in pids)
        found[f"{name} processes stopped"] = str(stopped)
        for limit, values in _limits(pids).items():
            found[f"{name} {limit}"] = ", ".join(sorted(values))
        found |= _throttled(control, name)
    return found


def _limits(pids: list[int]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            found.setdefault(line[:25].strip(), set()).add("/".join(line[26:].split()[:2]))
    return found


def _throttled(control: Control, name: str) -> Picture:
    try:
        control.ask("throttled", name=name)
    except HarnessError:
        return {}
    return {f"{name} is throttled": "True"}


def _undo_list(_: Stack, control: Control) -> Picture:
    entries = control.ask("undo-list")["entries"]
    return {f"undo of {one['label']}": f"{one['state']} {one['errors']}" for one in entries if one["state"] != "done"}


def _mounts(stack: Stack, control: Control) -> Picture:
    found = {}
    for name, one in stack.file.spec.services.items():
        if one.disk is not None and name not in stack.unavailable:
            directory = stack.disk_dir(name)
            told = control.ask("space", path=str(directory), file=str(directory / ".ballast"))
            found[f"{name} disk"] = f"{told['size']} bytes, ballast {told['held']}"
            found[f"{name} disk is full"] = str(told["free"] < ROUGH)
    return found


def _links(stack: Stack) -> Picture:
    if not stack.links.near:
        return {}
    control = stack.links.connect()
    try:
        return {f"link {one['link']} has": one["fault"] for one in control.ask("faults")["faults"]}
    finally:
        control.close()


def _redis(stack: Stack, name: str) -> Picture:
    host, _, port = stack.address(f"{name}.resp").partition(":")
    with closing(redis.Redis(host=host, port=int(port), socket_timeout=WAIT, retry=Retry(NoBackoff(), 0))) as client:
        settings = client.config_get("*")
        found = {f"{name} {key}": str(value) for key, value in settings.items()}  # type: ignore[union-attr]
        return found | {f"{name} blocked clients": str(client.info("clients")["blocked_clients"])}  # type: ignore[index]


def _postgres(stack: Stack, name: str) -> Picture:
    host, _, port = stack.address(f"{name}.sql").partition(":")
    told = {"host": host, "port": port, "user": "postgres", "dbname": "postgres", "application_name": OURS}
    with closing(psycopg2.connect(**told, connect_timeout=int(WAIT))) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def ask(query: str) -> Iterator[tuple[Any, ...]]:
            cursor.execute(query)
            return iter(cursor.fetchall())

        found = {f"{name} {key}": value for key, value in ask("SELECT name, setting FROM pg_settings")}
        found.pop(f"{name} application_name", None)
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        strong = (
            "SELECT count(*) FROM pg_locks JOIN pg_class ON oid = relation WHERE relkind = 'r' AND relnamespace = "
            "'public'::regnamespace AND mode LIKE '%Exclusive%' AND mode <> 'RowExclusiveLock'"
        )
        idle = (
            "SELECT count(*) FROM pg_stat_activity WHERE xact_start < now() - interval '1 s' "
            "AND backend_type = 'client backend'"
        )
        sessions = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE backend_type = 'client backend'"
        for what, query in (("locks awaited", waits), ("exclusive locks", strong), ("transactions over 1 s", idle)):
            found[f"{name} {what}"] = str(next(ask(query))[0])
        named = sorted(one for (one,) in ask(sessions) if "harness" in one and one != OURS)
        return found | {f"{name} sessions of the harness": ", ".join(named)}


def _prometheus(stack: Stack, name: str) -> Picture:
    url = f"http://{stack.address(f'{name}.http')}"
    config = local_get(f"{url}/api/v1/status/config", timeout=WAIT).json()["data"]["yaml"]
    active = local_get(f"{url}/api/v1/targets", params={"state": "active"}, timeout=WAIT).json()["data"][
        "activeTargets"
    ]
    states = Counter((one["labels"]["job"], one["health"]) for one in active)
    found = {f"{name} target {job} {health}": str(count) for (job, health), count in states.items()}
    return found | {f"{name} configuration": _digest(config)}


def _loki(stack: Stack, name: str) -> Picture:
    url = f"http://{stack.address(f'{name}.http')}"
    return {
        f"{name} configuration": _digest(local_get(f"{url}/config", timeout=WAIT).text),
        f"{name} overrides": _digest(local_get(f"{url}/runtime_config", timeout=WAIT).text),
        f"{name} takes a push": str(local_post(f"{url}/loki/api/v1/push", timeout=WAIT, json=_PUSH).status_code),
    }


_PUSH = {"streams": [{"stream": {"service": OURS}, "values": []}]}  # nothing is stored


def _milvus(stack: Stack, name: str) -> Picture:
    """Whether each collection is loaded, by its REST interface."""
    url = f"http://{stack.address(f'{name}.grpc')}/v1/vector/collections"
    collections = local_get(url, timeout=WAIT).json()["data"]
    found = {f"{name} collections": ", ".join(sorted(collections))}
    for one in collections:
        told = local_get(f"{url}/describe", params={"collectionName": one}, timeout=WAIT).json()["data"]
        found[f"{name} collection {one}"] = f"{told.get('load')}, indexes {_digest(told.get('indexes'))}"
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value)).hexdigest()[:12]


_SETTINGS: dict[str, Callable[[Stack, str], Picture]] = {
    "redis": _redis,
    "postgres": _postgres,
    "prometheus": _prometheus,
    "loki": _loki,
    "milvus": _milvus,
}
