"""What the tests of faults on services use: a child process that sets one, and looks at what the kernel says."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg2
import redis

from harness.core.errors import HarnessError
from harness.faults.registry import FAULTS
from harness.faults.service_fault import ServiceFault
from harness.faults.waiting import wait_for
from harness.model.events import Event
from harness.stack import procfs
from harness.stack.guard import Guard
from harness.stack.handle import Stack
from harness.stack.supervisor import socket_name
from tests.integration.relay import Relay

PATIENCE = 20.0
TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: broken-services}
spec:
  services:
    postgres: {use: postgres, disk: 128MB}
    redis: {use: redis}
    fill: {job: ["true"]}
  target: redis.resp
"""
# Sets a fault on a stack that another process holds, and waits.
CHILD = """
import json, signal, sys
from pathlib import Path
from harness.core.jsonio import read_json
from harness.faults.registry import FAULTS
from harness.model.stackfile import load_stackfile
from harness.stack.control import Control
from harness.stack.handle import Stack
from harness.stack.layout import Layout
from harness.stack.runtime import INFO
directory, name, values = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
info = read_json(directory / INFO)
file, _ = load_stackfile(Path(info["path"]))
layout = Layout(file, Path(info["path"]).parent, directory, info["ports"], info["links"])
stack = Stack(layout, Control(info["id"]), info, launched=None, reused=True)
with FAULTS[name].on(stack, FAULTS[name].takes(**values)):
    print("in force", flush=True)
    signal.pause()
"""


def make(stack: Stack, name: str, emit: Callable[[Event], None] | None = None, **values: Any) -> ServiceFault:
    made = FAULTS[name].on(stack, FAULTS[name].takes(**values), emit)
    assert isinstance(made, ServiceFault)
    return made


def set_and_killed(stack: Stack, name: str, **values: Any) -> None:
    """A process puts a fault in force, and gets SIGKILL."""
    argv = [sys.executable, "-c", CHILD, str(stack.directory), name, json.dumps(values)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in force\n"
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE)


def ask(stack: Stack, op: str, **arguments: Any) -> dict[str, Any]:
    """What the supervisor answers."""
    guard = stack.guard()
    try:
        return guard.ask(op, **arguments)
    finally:
        guard.close()


def state_of(stack: Stack, service: str) -> set[tuple[Any, ...]]:
    """What a fault may leave changed in the kernel: of each process whether it is stopped, and its limits; without ids,
    as a restart changes these."""
    pid = next(one.pid for one in stack.services() if one.name == service)
    if pid is None:
        return set()
    told = [(procfs.stat(one), one) for one in procfs.trees({"": pid})[""]]
    alive = [(known[0] in "Tt", one) for known, one in told if known is not None and known[0] not in "ZX"]
    return {(stopped, *resource.prlimit(one, resource.RLIMIT_NOFILE)) for stopped, one in alive}


def is_throttled(stack: Stack, service: str) -> bool:
    try:
        ask(stack, "throttled", name=service)
    except HarnessError:
        return False
    return True


def is_back(stack: Stack, service: str, before: set[tuple[Any, ...]]) -> bool:
    """Whether a service comes to be as it was: nothing on the list, no beat, no ballast, its limits; it answers."""

    def look() -> bool:
        entries = ask(stack, "undo-list")["entries"]
        if any(one["state"] != "done" for one in entries) or is_throttled(stack, service):
            return False
        return space(stack)["held"] == 0 and state_of(stack, service) == before and stack.is_ready(service)

    return wait_for(look, PATIENCE)


def space(stack: Stack) -> dict[str, Any]:
    """Of PostgreSQL's disk, as the supervisor sees it."""
    disk = stack.disk_dir("postgres")
    return ask(stack, "space", path=str(disk), file=str(disk / ".ballast"))


def to_redis(stack: Stack, timeout: float = 0.3) -> redis.Redis:
    host, port = stack.address("redis.resp").split(":")
    return redis.Redis(host, int(port), socket_timeout=timeout, socket_connect_timeout=5, retry=None)


def to_postgres(stack: Stack) -> Any:
    host, port = stack.address("postgres.sql").split(":")
    one = psycopg2.connect(host=host, port=port, user="postgres", dbname="postgres", connect_timeout=5)
    one.autocommit = True
    return one


class SupervisorRelay(Relay):
    """A supervisor that does not do what it is told."""

    def __init__(self, stack: Stack, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.id = f"{stack.id}-relay"
        super().__init__(socket_name(self.id), socket_name(stack.id), change)

    def guard(self) -> Guard:
        return Guard(self.id)
