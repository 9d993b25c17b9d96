"""Connections of our own through a link, which meet one fault alone and end at an echo in the proxy.

They take the way of every connection of the link, its port and its pipes, and never reach the service behind it.
"""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack

from harness.faults.waiting import wait_for
from harness.stack.links import HOST, LinkControl

PATIENCE = 5.0  # seconds for what the proxy does at once; a busy machine takes some of them


class Probe:
    """Makes such connections. port: of the link's near end; fault: the id of the fault that they meet."""

    def __init__(self, control: LinkControl, link: str, port: int, fault: str) -> None:
        self._control = control
        self._link = link
        self._port = port
        self.fault = fault

    def connect(self) -> socket.socket:
        """A new connection. Raises OSError."""
        with ExitStack() as undo:
            client = undo.enter_context(socket.socket())
            client.bind((HOST, 0))  # the proxy knows it by its port, and nobody else can have that meanwhile
            self._control.ask("probe", link=self._link, port=client.getsockname()[1], id=self.fault)
            client.settimeout(PATIENCE)
            client.connect((HOST, self._port))
            undo.pop_all()
        return client

    def is_reset(self, client: socket.socket) -> bool:
        """Whether a connection is or gets reset when something is sent."""
        try:
            client.sendall(b"?")
            client.recv(1)
        except (ConnectionResetError, BrokenPipeError):
            return True
        except TimeoutError:
            return False
        return False

    def is_turned_away(self) -> bool:
        """Whether a new connection gets RST: while connect(2) still looks, or at the first byte."""
        try:
            with self.connect() as client:
                return self.is_reset(client)
        except ConnectionResetError:
            return True

    def counters(self) -> dict[str, int]:
        """What the fault has done to probes."""
        found: dict[str, int] = self._control.ask("counters", id=self.fault)["probes"]
        return found

    def meets(self, name: str, client: socket.socket) -> bool:
        """Wait until the fault has done this to a probe; False if something arrives at `client`, or in vain."""
        wait_for(lambda: self.counters()[name] > 0 or not is_silent(client), PATIENCE)
        return is_silent(client) and self.counters()[name] > 0


def is_silent(client: socket.socket) -> bool:
    """Whether nothing has arrived: no data, no end."""
    client.setblocking(False)
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    finally:
        client.settimeout(PATIENCE)
    return False


def stays_silent(client: socket.socket, seconds: float) -> bool:
    """Whether nothing arrives for so long."""
    readable, _, _ = select.select([client], [], [], seconds)
    return not readable


def exchange(client: socket.socket, data: bytes) -> bytes:
    """Send, and read meanwhile; what came back, up to its length. Raises OSError, TimeoutError when nothing moves for
    the time that the socket has."""
    got, left, patience = bytearray(), memoryview(data), client.gettimeout()
    client.setblocking(False)
    try:
        while len(got) < len(data):
            readable, writable, _ = select.select([client], [client] if left else [], [], patience)
            if writable:
                left = left[client.send(left) :]
            if readable and not (part := client.recv(len(data) - len(got))):
                break
            if readable:
                got += part
            if not readable and not writable:
                raise TimeoutError(f"{len(got)} of {len(data)} bytes came back")
    finally:
        client.settimeout(patience)
    return bytes(got)
