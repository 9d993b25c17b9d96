"""Parsing that several commands share."""

from __future__ import annotations

from collections.abc import Iterable

from harness.core.errors import UsageError


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
