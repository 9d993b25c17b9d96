"""Corrupt: bytes arrive changed."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from harness.core.errors import UsageError
from harness.faults.link_fault import DirectedParameters, LinkFault
from harness.faults.parameters import main
from harness.faults.probe import Probe, exchange
from harness.stack.links import Links

LEAST = 1e-6
SURE = 20  # expected changes after which a probe that saw none gives up: a chance of 2e-9
CHUNK = 1 << 16


class CorruptParameters(DirectedParameters):
    rate: float = main(ge=1e-6, le=1, description="the share of bytes that are changed")


class Corrupt(LinkFault):
    """rate: the share of bytes that are changed to another value, from 1e-6 to 1. With one seed the same places change
    in the first, second, ... connection that meets the fault, however the streams are cut into pieces."""

    name = "corrupt"
    takes = CorruptParameters
    evidence: ClassVar[tuple[str, ...]] = ("corrupted",)

    def __init__(self, links: Links, link: str, rate: float, **more: Any) -> None:
        super().__init__(links, link, **more)
        if not LEAST <= rate <= 1:
            raise UsageError("fault-parameter", f"rate is {rate:g}", f"Write a share from {LEAST:g} to 1.")
        self._rate = rate

    def settings(self) -> dict[str, Any]:
        return {"rate": self._rate}

    def _confirm(self, probe: Probe) -> str:
        sent, data = 0, os.urandom(CHUNK)
        with probe.connect() as client:
            while sent < SURE / self._rate:
                sent += len(data)
                got = exchange(client, data)
                if len(got) == len(data) and got != data:
                    return f"an echo of {sent} bytes came back changed"
        raise self._without(f"{sent} bytes came back unchanged")
