"""Redis, in memory only: nothing of a run survives it."""

from __future__ import annotations

import re

from harness.stack.probes import tcp_ask
from harness.stack.services.recipe import Command, Context, Plan, Recipe

KEEPS_NOTHING = {"save": "", "appendonly": "no", "daemonize": "no"}


def _render(context: Context) -> Plan:
    tool = context.tool("redis-server")
    options = {
        "bind": "127.0.0.1",
        "port": str(context.ports["resp"]),
        "dir": str(context.store),
        **KEEPS_NOTHING,
    }
    argv = [str(tool.path), *(part for key, value in options.items() for part in (f"--{key}", value))]
    return Plan(Command(tuple(argv), tool.env))


def _probe(context: Context) -> str | None:
    answer = tcp_ask(context.address("resp"), b"INFO server\r\nQUIT\r\n", b"+OK\r\n")
    found = re.search(rb"redis_version:([^\r\n]+)", answer or b"")
    return found[1].decode() if found else None


RECIPE = Recipe(tools=("redis-server",), ports=("resp",), render=_render, probe=_probe, grace=2.0)
