"""The exporter that speaks for PostgreSQL, as the role that may read statistics and nothing else."""

from __future__ import annotations

from harness.stack.services.exporter import exporter_probe
from harness.stack.services.recipe import Command, Context, Plan, Recipe


def _render(context: Context) -> Plan:
    tool = context.tool("postgres-exporter")
    source = f"postgresql://exporter@{context.peers['postgres']}/postgres?sslmode=disable&connect_timeout=1"
    argv = [str(tool.path), f"--web.listen-address={context.address('http')}", "--disable-settings-metrics"]
    if context.config is not None:
        argv.append(f"--extend.query-path={context.config}")
    return Plan(Command(tuple(argv), {**tool.env, "DATA_SOURCE_NAME": source}))


RECIPE = Recipe(
    tools=("postgres-exporter",),
    ports=("http",),
    render=_render,
    probe=exporter_probe("pg_up", "postgres_exporter_build_info"),
    grace=2.0,
    metrics=("http", "/metrics"),
)
