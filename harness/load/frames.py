"""Messages between machines, in the form that Locust's master and workers use: (type, data, node) as MessagePack over
ZeroMQ, ROUTER at the master, DEALER at a worker whose identity is its node.

    worker: client_ready {version, host}       master: ack {index, plan, scenario, sha256, file}, or quit {why}
    worker: clock {sent}                       master: clock {sent, master}; times are CLOCK_MONOTONIC ns of each
    worker: heartbeat, a snapshot of all       master: heartbeat {said, at, commands}: what it has got of it, and all
            that its worker did                        that it wants done
                                               master: quit {why}

A heartbeat tells the whole state since what the other side has confirmed, so one that is lost costs nothing, and one
that comes twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]
import zmq

PORT = 5557  # as Locust's
HEARTBEAT_SECONDS = 0.2
MOST_BYTES = 64_000_000  # of one message; more is nobody of ours
CHUNK = 4_000_000  # of a worker's samples in one heartbeat


class Message(NamedTuple):
    type: str
    data: Any
    node: str


def pack(message: Message) -> bytes:
    packed: bytes = msgpack.packb(tuple(message))
    return packed


def unpack(frame: bytes) -> Message | None:
    """The message, or None if it is none."""
    try:
        found = msgpack.unpackb(frame, raw=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        return None
    if not (isinstance(found, list) and len(found) == 3 and isinstance(found[0], str) and isinstance(found[2], str)):
        return None
    return Message(*found)


class MasterSocket:
    """address: where it listens, as tcp://HOST:PORT; the port is chosen if it was 0. Raises OSError when it cannot."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = _socket(zmq.ROUTER)
        try:
            self._socket.bind(f"tcp://{host}:{port or '*'}")
        except zmq.ZMQError as error:
            self._socket.close()
            raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from error
        endpoint = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)
        self.address = endpoint.rstrip(b"\0").decode()

    def receive(self, seconds: float) -> list[tuple[bytes, Message]]:
        """Whatever has come, waiting so long for the first: by the worker's identity, which is what `send` takes."""
        found = []
        ready = self._socket.poll(max(0, round(seconds * 1000)))
        while ready:
            frames = self._socket.recv_multipart()
            if len(frames) == 2 and (message := unpack(frames[1])) is not None:
                found.append((frames[0], message))
            ready = self._socket.poll(0)
        return found

    def send(self, identity: bytes, kind: str, data: Mapping[str, Any]) -> None:
        """To one that has gone it gets lost, as any message may."""
        self._socket.send_multipart([identity, pack(Message(kind, dict(data), identity.decode(errors="replace")))])

    def close(self) -> None:
        self._socket.close(linger=500)


class WorkerSocket:
    def __init__(self, host: str, port: int, node: str) -> None:
        self._node = node
        self.socket = _socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, node.encode())
        self.socket.connect(f"tcp://{host}:{port}")

    def receive(self) -> list[Message]:
        """Whatever has come."""
        found = []
        while self.socket.poll(0):
            message = unpack(self.socket.recv())
            if message is not None:
                found.append(message)
        return found

    def send(self, kind: str, data: Mapping[str, Any]) -> None:
        """Never waits: what does not fit into the queue of one that cannot be reached gets lost."""
        try:
            self.socket.send(pack(Message(kind, dict(data), self._node)), zmq.NOBLOCK)
        except zmq.Again:
            return

    def close(self) -> None:
        self.socket.close(linger=500)


def _socket(kind: int) -> zmq.Socket[bytes]:
    made: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    made.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
    made.setsockopt(zmq.SNDHWM, 100)
    made.setsockopt(zmq.TCP_KEEPALIVE, 1)
    return made
