"""The exporter that speaks for PostgreSQL, as the role that may read statistics and nothing else."""

from __future__ import annotations

from harness.stack.services.exporter import exporter_probe
from harness.stack.services.recipe import Command, Context, Plan, Recipe

FLAGS = ("--disable-settings-metrics",)


def data_source(address: str) -> str:
    """How to reach the PostgreSQL at host:port; it gives up soon, so that a scrape says what it cannot."""
    return f"postgresql://exporter@{address}/postgres?sslmode=disable&connect_timeout=1"


def _render(context: Context) -> Plan:
    tool = context.tool("postgres-exporter")
    argv = [str(tool.path), f"--web.listen-address={context.address('http')}", *FLAGS]
    if context.config is not None:
        argv.append(f"--extend.query-path={context.config}")
    return Plan(Command(tuple(argv), {**tool.env, "DATA_SOURCE_NAME": data_source(context.peers["postgres"])}))


RECIPE = Recipe(
    tools=("postgres-exporter",),
    ports=("http",),
    render=_render,
    probe=exporter_probe("pg_up", "postgres_exporter_build_info"),
    grace=2.0,
    metrics=("http", "/metrics"),
)
