"""What a stack file may say of each built-in service: its ports, whether it takes a configuration, who goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Builtin:
    """ports: those that others may name; config: it may be given a configuration file; metrics: it exports its own.

    of: the kind of service without which it has no sense, of which the stack must have exactly one; with_: kinds that
    it works with where the stack has one; watches: it only looks on, so that without it data are missing and the rest
    is as before.
    """

    ports: tuple[str, ...]
    config: bool = False
    metrics: bool = False
    of: str | None = None
    with_: tuple[str, ...] = ()
    watches: bool = False

    @property
    def peers(self) -> tuple[str, ...]:
        return (self.of, *self.with_) if self.of is not None else self.with_


BUILTINS: Mapping[str, Builtin] = {
    "postgres": Builtin(("sql",)),
    "redis": Builtin(("resp",)),
    "milvus": Builtin(("grpc", "metrics"), metrics=True),
    "prometheus": Builtin(("http",), config=True, metrics=True, with_=("alertmanager",), watches=True),
    "alertmanager": Builtin(("http",), config=True, metrics=True, with_=("webhook-sink",), watches=True),
    "loki": Builtin(("http",), config=True, metrics=True, watches=True),
    "postgres-exporter": Builtin(("http",), config=True, metrics=True, of="postgres", watches=True),
    "redis-exporter": Builtin(("http",), metrics=True, of="redis", watches=True),
    "otlp-sink": Builtin(("http",), watches=True),
    "webhook-sink": Builtin(("http",), watches=True),
}
