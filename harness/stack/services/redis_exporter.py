"""The exporter that speaks for Redis: Redis itself has no metrics endpoint."""

from __future__ import annotations

from harness.stack.services.exporter import exporter_probe
from harness.stack.services.recipe import Command, Context, Plan, Recipe


def _render(context: Context) -> Plan:
    tool = context.tool("redis-exporter")
    argv = (
        str(tool.path),
        f"-web.listen-address={context.address('http')}",
        f"-redis.addr=redis://{context.peers['redis']}",
    )
    return Plan(Command(argv, tool.env))


RECIPE = Recipe(
    tools=("redis-exporter",),
    ports=("http",),
    render=_render,
    probe=exporter_probe("redis_up", "redis_exporter_build_info"),
    grace=2.0,
    metrics=("http", "/metrics"),
)
