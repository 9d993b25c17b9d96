"""Scrape dropped: Prometheus loses the target of a job, as when discovery does: its series end, and `up` is absent."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import requests
from pydantic import Field

from harness.core.errors import UsageError
from harness.faults.guarded import PATIENCE, GuardedFault
from harness.faults.parameters import Parameters
from harness.model.events import Event
from harness.model.stackfile import StackFile
from harness.stack.availability import Unavailable
from harness.stack.handle import Stack
from harness.stack.scrape_jobs import marker, write_config
from harness.stack.undo import Step
from harness.telemetry.local import local_get

WAIT = 5.0  # seconds for a reply


class ScrapeDroppedParameters(Parameters):
    target = "job"

    job: str = Field(description="the Prometheus job, as stack.yaml names it under scrape")


class ScrapeDropped(GuardedFault):
    """The job's target is taken out of the configuration, which Prometheus reads again by SIGHUP. In force when it has
    no target of the job (its series end two scrapes later); undone when the target was scraped anew, with success.
    Several may be in force at once, a job each.

    Raises UsageError fault-parameter for a job that is not in the stack.
    """

    name = "scrape-dropped"
    kind = "signal"
    takes = ScrapeDroppedParameters

    def __init__(
        self, stack: Stack, parameters: ScrapeDroppedParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(stack, parameters, emit)
        self.job = parameters.job
        known = stack.scrape()
        prometheus = prometheus_of(stack.file)
        if self.job not in known or not prometheus:
            cause = f"no job {self.job!r} is scraped in this stack"
            raise UsageError("fault-parameter", cause, f"There are: {', '.join(known)}. See `scrape` in stack.yaml.")
        self._service = prometheus
        self._directory = stack.service_dir(prometheus)
        self._asked = 0.0

    @classmethod
    def on(cls, stack: Stack, parameters: Parameters, emit: Callable[[Event], None] | None = None) -> ScrapeDropped:
        assert isinstance(parameters, ScrapeDroppedParameters)
        return cls(stack, parameters, emit)

    @classmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        return tuple(file.spec.scrape) if prometheus_of(file) else ()

    @classmethod
    def service_of(cls, file: StackFile, target: str) -> str:
        return file.spec.scrape[target].partition(".")[0]

    @classmethod
    def lacking(cls, file: StackFile, target: str, missing: Mapping[str, Unavailable]) -> str:
        prometheus = prometheus_of(file)
        if prometheus in missing:
            return f"{prometheus} cannot be had here: {missing[prometheus].cause}"
        return super().lacking(file, target, missing)

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({f"scrape {self.job}"})

    def _undo_steps(self) -> Sequence[Step]:
        return (
            {"do": "remove", "path": str(marker(self._directory, self.job))},
            self.stack.undo_program("harness.stack.scrape_jobs", str(self._directory)),
            {"do": "signal", "name": self._service, "signal": int(signal.SIGHUP)},
        )

    def _break(self) -> None:
        mark = marker(self._directory, self.job)
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
        write_config(self._directory)
        self.guard.ask("signal", name=self._service, signal=int(signal.SIGHUP))

    def _seen(self) -> str:
        active = self._active()
        if active is None or self.job in active:
            return ""
        return f"Prometheus scrapes {len(active)} jobs, and {self.job} is none of them"

    def _undo_and_see(self) -> str:
        self._asked = time.time()
        return super()._undo_and_see()

    def _gone(self) -> str:
        found = (self._active() or {}).get(self.job)
        if found is None or found["health"] != "up":
            return ""
        if datetime.fromisoformat(found["lastScrape"]).timestamp() < self._asked:
            return ""
        return f"{found['scrapeUrl']} was scraped anew"

    @property
    def _patience(self) -> float:
        """Prometheus looks for new targets every 5 s at most, and scrapes them within their interval."""
        return PATIENCE + 60 / self.stack.scale

    def _active(self) -> dict[str, Any] | None:
        """Its targets by job; None when it does not answer."""
        url = f"http://{self.stack.address(f'{self._service}.http')}/api/v1/targets"
        try:
            reply = local_get(url, params={"state": "active"}, timeout=WAIT)
            return {one["labels"]["job"]: one for one in reply.json()["data"]["activeTargets"]}
        except (requests.RequestException, ValueError, KeyError):
            return None


def prometheus_of(file: StackFile) -> str:
    """The service that scrapes; '' if there is none."""
    return next((name for name, one in file.spec.services.items() if one.use == "prometheus"), "")
