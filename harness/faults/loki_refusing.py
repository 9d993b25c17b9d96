"""Loki refusing: it answers every push with 429 (or 500, 503), by a limit in its runtime configuration."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import requests
from pydantic import Field

from harness.faults.guarded import without_effect
from harness.faults.parameters import main
from harness.faults.service_fault import ServiceFault, ServiceParameters
from harness.model.stackfile import StackFile
from harness.stack.services.loki import CALM, RUNTIME
from harness.stack.undo import Step
from harness.telemetry.local import local_get, local_post

WAIT = 5.0  # seconds for a reply
TENANT = "fake"  # what Loki calls its only one, when auth_enabled is false
BLOCKED = re.compile(r'^loki_discarded_samples_total\{[^}]*reason="blocked_ingestion"[^}]*\} (\S+)$', re.MULTILINE)
# Neither is ever stored: the one line is from 1970, which is too old, and the other stream has no line.
_OLD = {"streams": [{"stream": {"service": "slo-harness-probe"}, "values": [["1", "probe"]]}]}
_EMPTY = {"streams": [{"stream": {"service": "slo-harness-probe"}, "values": []}]}


class LokiRefusingParameters(ServiceParameters):
    service: str = Field("loki", description="the service that uses loki, as stack.yaml names it")
    status: Literal[429, 500, 503] = main(429, description="what a push is answered with")
    expect_traffic: bool = Field(True, description="whether it is an error that no line but our own was refused")


class LokiRefusing(ServiceFault):
    """In force when a push of a line that is never stored gets that status; undone when it is refused for its age
    alone, and an empty push gets 204. `refused` counts the lines of others, by Loki's own counter."""

    name = "loki-refusing"
    kind = "signal"
    takes = LokiRefusingParameters
    given: LokiRefusingParameters

    @classmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        return tuple(name for name, one in file.spec.services.items() if one.use == "loki")

    def _undo_steps(self) -> Sequence[Step]:
        self._ours, self._before = 0, self._discarded()
        return ({"do": "write", "path": str(self._path), "text": CALM},)

    def _break(self) -> None:
        limits = f"block_ingestion_until: 2100-01-01T00:00:00Z, block_ingestion_status_code: {self.given.status}"
        new = self._path.with_name(f".{RUNTIME}.{self.guard.key}")
        new.write_text(f"overrides:\n  {TENANT}: {{{limits}}}\n")
        shutil.copymode(self._path, new)  # in a container somebody else reads it
        new.replace(self._path)

    def _seen(self) -> str:
        status, text = self._push(_OLD)
        if status != self.given.status:
            return ""
        self._ours += 1
        return f"a push got {status}: {text}"

    def _gone(self) -> str:
        status, _ = self._push(_OLD)
        self._ours += status == self.given.status
        if status in (0, self.given.status) or self._push(_EMPTY)[0] != 204:
            return ""
        return "a push is not refused any more, and an empty one got 204"

    def _undo_and_see(self) -> str:
        how = super()._undo_and_see()
        self._last = self._counters()
        return how

    def _counters(self) -> dict[str, int]:
        return {"refused": self._discarded() - self._before - self._ours}

    def _check_met(self, counters: Mapping[str, int]) -> None:
        if self.given.expect_traffic and counters["refused"] <= 0:
            raise without_effect(self.label, "it was in force, and nobody but our own probe was refused a line")

    @property
    def _path(self) -> Path:
        return self.stack.service_dir(self.service) / RUNTIME

    @property
    def _url(self) -> str:
        return f"http://{self.stack.address(f'{self.service}.http')}"

    def _push(self, body: Mapping[str, Any]) -> tuple[int, str]:
        """Status and text of the reply; 0 without one."""
        try:
            reply = local_post(f"{self._url}/loki/api/v1/push", json=body, timeout=WAIT)
        except requests.RequestException:
            return 0, ""
        return reply.status_code, reply.text.strip()

    def _discarded(self) -> int:
        """Lines that were refused by the limit since Loki runs; 0 when it does not answer."""
        try:
            text = local_get(f"{self._url}/metrics", timeout=WAIT).text
        except requests.RequestException:
            return 0
        return sum(int(float(value)) for value in BLOCKED.findall(text))
