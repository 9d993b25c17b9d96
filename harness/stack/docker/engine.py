"""A client of the Docker Engine API, as much as is needed of it. Standard library only: followers and guardians import
it without waiting for anything."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.stack.docker.hosts import Host, find_host, unreachable
from harness.stack.docker.transport import lost, opened, whole

API = (1, 44)  # the newest that is asked for; older engines are asked in theirs
TIMEOUT = 60.0  # seconds for an answer


class Engine:
    """One engine. Methods may be called from several threads; all raise HarnessError engine-lost when it cannot be
    asked, and engine-refused for an answer that is an error, unless they say otherwise."""

    def __init__(self, host: Host) -> None:
        self.at = host

    @classmethod
    def find(cls) -> Engine:
        """The engine that Docker's command line would speak to, and which answers. Raises HarnessError
        engine-unreachable (not-validated)."""
        engine = cls(find_host())
        try:
            engine.ping()
        except HarnessError as error:
            known = error.__cause__
            how = known.strerror if isinstance(known, OSError) and known.strerror else error.cause
            raise unreachable(f"no Docker engine answers at {engine.host} ({engine.at.found}): {how}") from error
        return engine

    @property
    def host(self) -> str:
        """unix:///PATH or tcp://HOST:PORT, as DOCKER_HOST would say it."""
        return self.at.url

    def ping(self) -> str:
        """Ask for a sign of life; returns the API version that the engine speaks, '' if it says none."""
        with opened(self.at, "GET", "/_ping", timeout=5.0) as answer:
            answer.read()
            if answer.status != 200:
                raise lost(self.at, f"to a ping with OK but with {answer.status} {answer.reason}")
            return answer.getheader("Api-Version") or ""

    @cached_property
    def _prefix(self) -> str:
        spoken = tuple(int(part) for part in self.ping().split(".") if part.isdigit())
        return "/v" + ".".join(map(str, min(API, spoken))) if len(spoken) == 2 else ""

    @cached_property
    def version(self) -> str:
        """What the engine says of itself, like 28.5.1."""
        return str(self.call("GET", "/version")["Version"])

    def open(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[http.client.HTTPResponse]:
        """An answer to be read as it comes, in a `with` block. query: lists and mappings are sent as JSON, True and
        False as 1 and 0. timeout: seconds of silence, None: any."""
        if query:
            texts = {
                key: json.dumps(one)
                if isinstance(one, dict | list)
                else str(int(one) if isinstance(one, bool) else one)
                for key, one in query.items()
            }
            path = f"{path}?{urlencode(texts)}"
        return opened(self.at, method, self._prefix + path, body, timeout=timeout, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        timeout: float | None = TIMEOUT,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and content of an answer, whatever the status. Does not raise engine-refused."""
        with self.open(method, path, body, query=query, timeout=timeout, headers=headers) as answer:
            return answer.status, whole(self.at, answer)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        timeout: float | None = TIMEOUT,
        *,
        query: Mapping[str, object] | None = None,
        fine: Iterable[int] = (),
    ) -> Any:
        """The content of an answer that is none of an error; fine: statuses from 400 on that are as good."""
        status, said = self.request(method, path, body, timeout, query=query)
        if status >= 400 and status not in fine:
            raise HarnessError(
                "engine-refused",
                f"{method} {path}: the Docker engine answered {status}: {_message(said)}",
                "Look at the engine's log; this is what it was asked, and what it said.",
            )
        return said

    def image(self, name: str) -> dict[str, Any] | None:
        """An image that is there, as `docker image inspect` shows it; None when it is not."""
        return self._inspect(f"/images/{quote(name)}/json")

    def can_pull(self, name: str, auth: str = "", timeout: float = 20.0) -> str:
        """'' when the image's registry offers it, else what hinders it. auth: the X-Registry-Auth header."""
        try:
            status, said = self.request(
                "GET", f"/distribution/{quote(name)}/json", timeout=timeout, headers={"X-Registry-Auth": auth or "e30="}
            )
        except HarnessError as error:
            return error.cause
        return "" if status < 400 else _message(said)

    def pull(self, name: str, tell: Callable[[dict[str, Any]], None] = lambda _: None, auth: str = "") -> None:
        """Pull an image; every step the engine reports goes to `tell`. Raises HarnessError image-unavailable
        (not-validated)."""
        bare, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
        query = {"fromImage": name} if "@" in name else {"fromImage": bare, "tag": tag}
        headers = {"X-Registry-Auth": auth} if auth else {}
        with self.open("POST", "/images/create", query=query, timeout=300.0, headers=headers) as answer:
            if answer.status >= 400:
                raise image_unavailable(name, _message(whole(self.at, answer)))
            for line in answer:
                try:
                    step = json.loads(line)
                except ValueError as error:
                    raise lost(self.at, f"in JSON while it pulled {name}: {error}") from error
                if "error" in step:
                    raise image_unavailable(name, str(step["error"]))
                tell(step)

    def container(self, name: str) -> dict[str, Any] | None:
        """A container as `docker inspect` shows it; None when there is none."""
        return self._inspect(f"/containers/{quote(name)}/json")

    def containers(self, labels: Iterable[str]) -> list[dict[str, Any]]:
        """Containers in any state that carry all of these labels, each `KEY` or `KEY=VALUE`."""
        query = {"all": True, "filters": {"label": list(labels)}}
        found: list[dict[str, Any]] = self.call("GET", "/containers/json", query=query)
        return found

    def networks(self, labels: Iterable[str]) -> list[dict[str, Any]]:
        """Networks that carry all of these labels."""
        found: list[dict[str, Any]] = self.call("GET", "/networks", query={"filters": {"label": list(labels)}})
        return found

    def volumes(self, labels: Iterable[str]) -> list[dict[str, Any]]:
        """Volumes that carry all of these labels."""
        found = self.call("GET", "/volumes", query={"filters": {"label": list(labels)}})
        return list(found.get("Volumes") or ())

    def remove_container(self, name: str) -> None:
        """Kill a container and remove it with its anonymous volumes; nothing when it is gone or going."""
        self.call("DELETE", f"/containers/{quote(name)}", query={"force": True, "v": True}, fine=(404, 409))

    def remove_network(self, name: str) -> None:
        """Remove a network that nobody is on; nothing when it is gone."""
        self.call("DELETE", f"/networks/{quote(name)}", fine=(404,))

    def remove_volume(self, name: str) -> None:
        """Remove a volume that nobody uses; nothing when it is gone."""
        self.call("DELETE", f"/volumes/{quote(name)}", query={"force": True}, fine=(404,))

    def _inspect(self, path: str) -> dict[str, Any] | None:
        found: dict[str, Any] = self.call("GET", path, fine=(404,))
        return found if "Id" in found else None


def image_unavailable(name: str, why: str) -> HarnessError:
    return HarnessError(
        "image-unavailable",
        f"the image {name} is not on the engine and cannot be pulled: {why}",
        "docker pull it where that works, set a mirror (docs/docker.md), or use --runtime local.",
        outcome=Outcome.NOT_VALIDATED,
    )


def _message(said: Any) -> str:
    text = said.get("message") if isinstance(said, dict) else said
    return str(text or "nothing").strip()
