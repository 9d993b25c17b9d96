"""A Docker engine as far as its protocol goes: a real unix socket that answers, or misbehaves. It runs no container."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class FakeEngine:
    """images: names that are there; registry: names that can be pulled; raw: bytes that are sent for any request
    instead of an answer ('' closes the connection); answers: (method, path without version) -> status and content that
    beat what it would say; asked: what it was asked, with the query."""

    path: Path
    images: set[str] = field(default_factory=set)
    registry: set[str] = field(default_factory=set)
    raw: bytes | None = None
    api: str = "1.41"
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    things: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"containers": [], "networks": [], "volumes": []}
    )

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def answer(self, method: str, path: str, query: dict[str, str]) -> tuple[int, Any]:
        """Status and content."""
        if (method, path) in self.answers:
            return self.answers[method, path]
        if path == "/version":
            return 200, {"Version": "20.10.24", "ApiVersion": self.api}
        if path.startswith("/images/") and path.endswith("/json"):
            return self._image(path.removeprefix("/images/").removesuffix("/json"))
        if path.startswith("/distribution/"):
            name = path.removeprefix("/distribution/").removesuffix("/json")
            return (200, {"Descriptor": {}}) if name in self.registry else (404, {"message": f"no {name} in registry"})
        if path == "/images/create":
            return self._pull(query)
        return self._things(method, path, query)

    def _image(self, name: str) -> tuple[int, Any]:
        if name in self.images:
            return 200, {"Id": f"sha256:{name}", "RepoDigests": [f"{name.rpartition(':')[0]}@sha256:00"]}
        return 404, {"message": f"No such image: {name}"}

    def _pull(self, query: dict[str, str]) -> tuple[int, Any]:
        name = f"{query['fromImage']}:{query['tag']}"
        if name not in self.registry:
            return 200, [{"status": "Pulling"}, {"error": f"manifest for {name} not found"}]
        self.images.add(name)
        layer = {"id": "a1", "status": "Downloading", "progressDetail": {"current": 512, "total": 1024}}
        return 200, [
            {"status": "Pulling from library", "id": query["tag"]},
            layer,
            {"id": "a1", "status": "Pull complete"},
        ]

    def _things(self, method: str, path: str, query: dict[str, str]) -> tuple[int, Any]:
        kind, _, name = path.strip("/").partition("/")
        if kind not in self.things:
            return 404, {"message": "page not found"}
        if method == "DELETE":
            left = [one for one in self.things[kind] if name not in (one.get("Id"), one.get("Name"))]
            gone, self.things[kind] = len(left) < len(self.things[kind]), left
            return (204, None) if gone else (404, {"message": f"no such {kind}"})
        wanted = json.loads(query.get("filters", "{}")).get("label", [])
        found = [one for one in self.things[kind] if all(_carries(one["Labels"], label) for label in wanted)]
        return 200, {"Volumes": found or None} if kind == "volumes" else found


def _carries(labels: dict[str, str], label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in labels and (not equals or labels[key] == value)


class _Handler(BaseHTTPRequestHandler):
    engine: FakeEngine
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        if self.engine.raw is not None:
            self.wfile.write(self.engine.raw)
            self.close_connection = True
            return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.engine.asked.append((self.command, path, query))
        if path == "/_ping":
            status, kind, body = 200, "text/plain", b"OK"
        else:
            status, said = self.engine.answer(self.command, path, query)
            kind = "application/json"
            if path == "/images/create" and isinstance(said, list):
                body = b"".join(json.dumps(step).encode() + b"\r\n" for step in said)
            else:
                body = b"" if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Api-Version", self.engine.api)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _serve

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        return


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def fake_engine(directory: Path) -> Iterator[FakeEngine]:
    """A running one, its socket in `directory`."""
    engine = FakeEngine(directory / "engine.sock")
    handler = type("Handler", (_Handler,), {"engine": engine})
    with _Server(str(engine.path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield engine
        finally:
            server.shutdown()
            thread.join()
