"""Parsing that several commands share."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from harness.core.duration import parse_duration
from harness.core.errors import UsageError
from harness.model.runtimes import VARIABLE

RUNTIME = typer.Option(
    "auto",
    "--runtime",
    envvar=VARIABLE,
    help="What brings the services up: local, docker, or auto: docker where it can",
)

APP = typer.Option(
    "process",
    "--app",
    help="What the commands of the stack file's `image` run as: process, or container, which it is built for (docker)",
)


def parse_overrides(settings: Iterable[str]) -> dict[str, dict[str, str]]:
    """`SERVICE.NAME=VALUE` settings as {service: {name: value}}. Raises UsageError bad-setting."""
    overrides: dict[str, dict[str, str]] = {}
    for setting in settings:
        target, equals, value = setting.partition("=")
        service, dot, name = target.partition(".")
        if not (equals and dot and service and name):
            raise UsageError(
                "bad-setting",
                f"--set {setting!r} is not SERVICE.NAME=VALUE",
                "For example --set app.APP_SEARCH_EFFORT=8",
            )
        overrides.setdefault(service, {})[name] = value
    return overrides


def parse_grace(abort: bool, grace: str) -> int | None:
    """Nanoseconds of the steady phase after which a breach ends a run, or None where none does. Raises UsageError
    bad-option for a grace that is no duration."""
    try:
        length = parse_duration(grace)
    except ValueError as error:
        raise UsageError("bad-option", f"grace before a breach ends a run: {error}", "For example 10s.") from None
    return length if abort else None
