"""Sink stalled: what takes spans or notifications is stopped by SIGSTOP. It takes connections and never answers."""

from __future__ import annotations

import http.client

from pydantic import Field

from harness.faults.pause import Pause
from harness.faults.service_fault import ServiceParameters
from harness.model.stackfile import StackFile

WAIT = 0.5  # seconds in which a sink that runs has answered
# What each kind of sink answers, and keeps nothing of: an export without spans, a question for its health.
_QUESTIONS = {
    "otlp-sink": ("POST", "/v1/traces", {"Content-Type": "application/x-protobuf", "Content-Length": "0"}),
    "webhook-sink": ("GET", "/healthz", {}),
}

_ANSWERS = ("200", "401")  # of one that runs; 401 where it wants a token of whoever brings something


class SinkStalledParameters(ServiceParameters):
    service: str = Field(description="the sink, as stack.yaml names it: a service that uses otlp-sink or webhook-sink")


class SinkStalled(Pause):
    """In force when the sink takes a connection and gives no answer on it; undone when it answers."""

    name = "sink-stalled"
    kind = "signal"
    takes = SinkStalledParameters

    @classmethod
    def targets(cls, file: StackFile) -> tuple[str, ...]:
        return tuple(name for name, one in file.spec.services.items() if one.use in _QUESTIONS)

    def _seen(self) -> str:
        told = self._ask("stopped")
        if told is None or not told["stopped"] or self._reply() != "no answer":
            return ""
        return f"a connection was taken, and {self._what} on it got no answer in {WAIT:g} s"

    def _gone(self) -> str:
        reply = self._reply()
        return f"{self._what} got {reply}" if reply in _ANSWERS else ""

    @property
    def _what(self) -> str:
        method, path, _ = _QUESTIONS[self._use]
        return f"{method} {path}"

    @property
    def _use(self) -> str:
        return str(self.stack.file.spec.services[self.service].use)

    def _reply(self) -> str:
        """The status of the reply; `no answer` when there was a connection and no reply; '' when there was neither."""
        method, path, headers = _QUESTIONS[self._use]
        connection = http.client.HTTPConnection(self.stack.address(f"{self.service}.http"), timeout=WAIT)
        try:
            connection.connect()
            connection.request(method, path, headers={"Connection": "close", **headers})
            return str(connection.getresponse().status)
        except TimeoutError:
            return "no answer" if connection.sock is not None else ""
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()
