"""Link faults through a toxiproxy, where the environment names one: its proxies are the links, by their names."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.faults.guarded import without_effect
from harness.faults.toxic_probe import Service
from harness.faults.waiting import wait_for
from harness.stack.guard import not_undone

VARIABLE = "SLO_HARNESS_TOXIPROXY"
WAIT = 5.0  # seconds for one of its replies
PATIENCE = 40.0  # seconds for the guard, which gives up before


@dataclass(frozen=True, slots=True)
class Toxic:
    """What a link fault is called there. kind: its type; attributes: in its units, milliseconds and KB/s; least, most:
    the seconds by which it delays an answer; 0 where it does not."""

    kind: str
    attributes: Mapping[str, int]
    least: float = 0.0
    most: float = 0.0


def server_named() -> str | None:
    """The URL of the server that the environment names. Raises UsageError toxiproxy-address."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme == "http" and parts.hostname and parts.port and parts.path in ("", "/")
        if good and not (parts.query or parts.fragment or parts.username is not None):
            return f"http://{parts.netloc}"
    except ValueError:
        pass
    raise UsageError("toxiproxy-address", f"{VARIABLE}={text}", "Write http://HOST:PORT, or unset it.")


def whole(name: str, value: float, unit: float, what: str) -> int:
    """A value in toxiproxy's units. Raises UsageError fault-parameter for one that it cannot have."""
    number = round(value / unit)
    if abs(number * unit - value) > unit * 1e-6:
        raise UsageError("fault-parameter", f"{name}: toxiproxy counts in whole {what}", "Round it.")
    return number


class Toxics:
    """One fault's toxics on one of its proxies. A process of its own deletes them when this one is gone, or asks."""

    def __init__(self, server: str, link: str, label: str) -> None:
        self._server, self._link, self._label = server, link, label
        self._base = f"{server}/proxies/{quote(link, safe='')}"
        self._guard: subprocess.Popen[bytes] | None = None
        self._names: list[str] = []
        self._due = math.inf  # monotonic seconds at which the guard deletes them

    def apply(self, toxic: Toxic | None, streams: Sequence[str], seconds: float | None) -> str:
        """streams: upstream, downstream; seconds: after which the guard deletes them. Returns how they are seen. Raises
        HarnessError fault-unsupported, toxiproxy-lost, fault-without-effect; UsageError link-unknown."""
        if toxic is None:
            raise HarnessError(
                "fault-unsupported",
                f"{self._label}: toxiproxy at {self._server} cannot do this",
                f"The harness's own proxy can: unset {VARIABLE} on a stack that the harness has brought up.",
                outcome=Outcome.NOT_VALIDATED,
            )
        self._service = Service(self._listen())
        self._toxic = toxic
        mark = uuid.uuid4().hex
        self._names = [f"slo-harness-{mark}-{stream}" for stream in streams]
        self._arm(seconds)
        for name, stream in zip(self._names, streams, strict=True):
            body = {"name": name, "type": toxic.kind, "stream": stream, "attributes": dict(toxic.attributes)}
            reply = self._ask("POST", "/toxics", body)
            if reply.status_code != 200:
                raise without_effect(self._label, f"toxiproxy refused it: {reply.text.strip()}")
        if set(self._names) - set(self._listed()):
            raise without_effect(self._label, "toxiproxy does not list it")
        seen = self._service.effect(toxic.kind, toxic.least, toxic.most)
        if seen is None:
            raise without_effect(self._label, f"toxiproxy lists it, and {self._service.address} answers as it did")
        return f"toxiproxy lists it, and {seen}"

    def undo(self) -> str:
        """Returns how they are seen to be gone. Raises HarnessError fault-not-undone, fault-without-effect."""
        assert self._guard is not None
        missing = bool(set(self._names) - set(self._listed()))
        by_itself = missing and time.monotonic() >= self._due
        lost = missing and not by_itself
        code = self._end_guard()
        if code != 0 or set(self._names) & set(self._listed()):
            raise not_undone(self._label, f"toxiproxy at {self._server} lists it still")
        if not wait_for(self._service.is_clear):
            raise not_undone(self._label, f"{self._service.address} does not answer as it did")
        if lost:
            raise without_effect(self._label, "toxiproxy did not list it any more before it was undone")
        first = "it had ended by itself, and " if by_itself else ""
        return f"{first}toxiproxy does not list it, and {self._service.calm}"

    def abandon(self) -> None:
        """The same, whatever comes of it."""
        self._end_guard()

    def _arm(self, seconds: float | None) -> None:
        self._due = math.inf if seconds is None else time.monotonic() + seconds
        argv = [sys.executable, "-m", "harness.stack.toxics_guard", self._server, self._link, str(seconds or 0)]
        guard = self._guard = subprocess.Popen(
            [*argv, *self._names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        _guards.add(guard)
        assert guard.stdout is not None
        if guard.stdout.readline() != b"armed\n":
            raise without_effect(self._label, f"the process that would undo it ended with {guard.wait(WAIT)}")

    def _end_guard(self) -> int:
        """Its exit code; 0 when there is none."""
        guard, self._guard = self._guard, None
        if guard is None:
            return 0
        assert guard.stdin is not None and guard.stdout is not None
        guard.stdin.close()
        guard.stdout.close()
        try:
            return guard.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            guard.kill()
            return guard.wait()

    def _listen(self) -> str:
        """Where clients of the link connect to."""
        reply = self._ask("GET", "")
        if reply.status_code == 404:
            known = ", ".join(self._ask("GET", "", base=f"{self._server}/proxies").json()) or "none"
            raise UsageError(
                "link-unknown",
                f"toxiproxy at {self._server} has no proxy {self._link!r}; known are {known}",
                "Create one there with the name that the link has in stack.yaml.",
            )
        told = reply.json()
        if not told["enabled"]:
            raise without_effect(self._label, "its proxy is disabled in toxiproxy")
        return str(told["listen"])

    def _listed(self) -> list[str]:
        reply = self._ask("GET", "/toxics")
        return [one["name"] for one in reply.json()] if reply.status_code == 200 else []

    def _ask(self, method: str, path: str, body: Any = None, base: str = "") -> requests.Response:
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.request(method, (base or self._base) + path, json=body, timeout=WAIT)
        except requests.RequestException as error:
            raise HarnessError(
                "toxiproxy-lost",
                f"toxiproxy at {self._server} does not answer: {error}",
                f"See that it runs and that {VARIABLE} is right.",
            ) from error


_guards: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def _close_in_child() -> None:
    """A forked child must not keep a fault alive after its parent's death."""
    for guard in list(_guards):
        if guard.stdin is not None:
            guard.stdin.close()


os.register_at_fork(after_in_child=_close_in_child)
