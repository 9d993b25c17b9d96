"""The sink for OTLP/HTTP spans: a process of this package, named here by its module and never imported."""

from __future__ import annotations

from harness.stack.probes import http_get
from harness.stack.services.recipe import Command, Context, Plan, Recipe


def _render(context: Context) -> Plan:
    out = context.directory / "spans.jsonl"
    argv = (context.python, "-m", "harness.telemetry.otlp_sink", "--listen", context.address("http"))
    token = ("--token-file", str(context.token)) if context.asks_senders else ()
    return Plan(Command((*argv, "--out", str(out), *token)))


def _probe(context: Context) -> str | None:
    return None if http_get(context.address("http"), "/healthz") is None else ""


RECIPE = Recipe(tools=(), ports=("http",), render=_render, probe=_probe, grace=2.0)
