"""The control channel: JSON lines on a unix socket, by which a client sets faults, ends them and reads their counters.

A fault lasts as long as the connection that set it: at end of file, whatever the reason, it is undone at once.
Requests: {"op": "set", "id", "link", "fault", "direction", "parameters", "seed", "for"}, {"op": "end", "id"},
{"op": "counters", "id"}, {"op": "faults"}, {"op": "links"}, {"op": "probe", "link", "port", "id"}. Answers have "ok",
and "slug" and "error" when that is false.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import socket
import struct
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from harness.stack.proxy.address import address_of
from harness.stack.proxy.link import Active, Link, directions_of
from harness.stack.proxy.mechanisms import MECHANISMS
from harness.stack.proxy.mechanisms.base import number

LONGEST_LINE = 1 << 16
_CREDENTIALS = struct.Struct("3i")


class Refused(Exception):
    """A request that cannot be answered: slug and message."""


class Control:
    """The server of the channel."""

    def __init__(self, links: dict[str, Link]) -> None:
        self._links = links

    async def listen(self, path: Path) -> None:
        """Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with address_of(path) as address:
                listener.bind(address)
        finally:
            os.umask(before)
        await asyncio.start_unix_server(self._client, sock=listener, limit=LONGEST_LINE)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held: dict[str, Active] = {}
        probes: list[tuple[Link, int]] = []
        try:
            sock = writer.get_extra_info("socket")
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(peer)[1] != os.geteuid():
                return
            while line := await reader.readline():
                writer.write(orjson.dumps(self._answer(line, held, probes)) + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError):  # gone, or a line without end
            pass
        finally:
            for act in held.values():
                act.end("disconnect")
            for link, port in probes:  # a probe that never came: its port is anybody's from now on
                link.expected.pop(port, None)
            writer.close()

    def _answer(self, line: bytes, held: dict[str, Active], probes: list[tuple[Link, int]]) -> dict[str, Any]:
        try:
            return {"ok": True, **self._do(orjson.loads(line), held, probes)}
        except Refused as refused:
            return {"ok": False, "slug": refused.args[0], "error": refused.args[1]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return {"ok": False, "slug": "fault-parameter", "error": f"{type(error).__name__}: {error}"}

    def _do(self, request: dict[str, Any], held: dict[str, Active], probes: list[tuple[Link, int]]) -> dict[str, Any]:
        match request["op"]:
            case "set":
                act = self._set(request, held)
                return {"id": act.id}
            case "end":
                held[request["id"]].end("client")
                return told(held[request["id"]])
            case "counters":
                return told(held[request["id"]])
            case "faults":
                return {"faults": [told(act) for link in self._links.values() for act in link.faults]}
            case "links":
                return {"links": {name: asdict(link.counters) for name, link in self._links.items()}}
            case "probe":
                link, port = self._link(request["link"]), int(request["port"])
                link.expected[port] = str(request["id"])
                probes.append((link, port))
                return {}
            case other:
                raise ValueError(f"unknown op {other!r}")

    def _set(self, request: dict[str, Any], held: dict[str, Active]) -> Active:
        link = self._link(request["link"])
        kind, key = request["fault"], str(request["id"])
        if kind not in MECHANISMS:
            raise ValueError(f"no fault {kind!r}; known are {', '.join(MECHANISMS)}")
        if not key or key in held or any(key == act.id for one in self._links.values() for act in one.faults):
            raise ValueError(f"a fault {key!r} is there already")
        seconds = None if request.get("for") is None else number(request, "for", 1e-3, 1e6)
        directions = directions_of(request.get("direction", "both"))
        mechanism = MECHANISMS[kind](request.get("parameters", {}))
        act = held[key] = Active(key, kind, link, directions, mechanism, int(request.get("seed", 0)))
        act.begin(seconds)
        return act

    def _link(self, name: str) -> Link:
        if name not in self._links:
            near = difflib.get_close_matches(str(name), self._links, 1, 0.5)
            meant = f"; is {near[0]!r} meant?" if near else f"; known are {', '.join(self._links)}"
            raise Refused("link-unknown", f"no link {name!r} in the stack{meant}")
        return self._links[name]


def told(act: Active) -> dict[str, Any]:
    """A fault as a client sees it. seconds: since it began."""
    return {
        "id": act.id,
        "fault": act.name,
        "link": act.link.name,
        "directions": list(act.directions),
        "in_force": act.in_force,
        "ended_by": act.ended_by,
        "seconds": time.monotonic() - act.began,
        "counters": asdict(act.counters),
        "probes": asdict(act.probes),
    }
