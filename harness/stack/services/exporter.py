"""What exporters have in common: they are ready when they see what they speak for."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.stack.probes import http_get
from harness.stack.services.recipe import Context


def exporter_probe(up: str, build_info: str) -> Callable[[Context], str | None]:
    """A probe that waits for the gauge `up` to be 1, and takes the version from the series `build_info`."""
    version = re.compile(rf'^{build_info}\{{[^}}]*version="([^"]*)"'.encode(), re.MULTILINE)
    seen = re.compile(rf"^{up}(\{{[^}}]*\}})? 1$".encode(), re.MULTILINE)

    def probe(context: Context) -> str | None:
        told = http_get(context.address("http"), "/metrics")
        if told is None or not seen.search(told):
            return None
        found = version.search(told)
        return found[1].decode() if found else ""

    return probe
