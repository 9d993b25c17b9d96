"""The one process that owns a stack: starts, signals, reaps and reports its processes, and takes all with it.

Run as PID 1 of the stack's own PID namespace, or (isolation `subreaper`) under harness.stack.subreaper. It answers
JSON lines on the abstract unix socket `slo-harness-<id>`; the other end must be the same user. It ends on `shutdown`,
SIGTERM, SIGINT, or when its lease (the read end of a pipe) comes to its end. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from harness.stack import leftovers, limits, procfs
from harness.stack.duty import DutyCycles
from harness.stack.processes import Children
from harness.stack.sending import send, stopped
from harness.stack.undo import UndoList

MAX_PENDING = 4 << 20  # bytes that a client may leave unread before it is dropped
LONGEST = 3600.0  # seconds of one wait: epoll counts milliseconds in 32 bits


def socket_name(stack_id: str) -> str:
    """The abstract address of a stack's control socket."""
    return f"\0slo-harness-{stack_id}"


class Client:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.incoming = b""
        self.outgoing = b""
        self.subscribed = False


class Supervisor:
    """The event loop. `lease` is a file descriptor, or -1."""

    def __init__(self, stack_id: str, directory: Path, scratch: Path, isolation: str, lease: int) -> None:
        self.id = stack_id
        self.directory = directory
        self.scratch = scratch
        self.isolation = isolation
        self.lease = lease
        self.ending = False
        prefix = ("setpriv", "--pdeathsig", "KILL", "--") if isolation == "subreaper" else ()
        self.children = Children(prefix)
        self.duties = DutyCycles(self.children)
        self.undo = UndoList(self.children, self.duties.end)
        self.selector = selectors.DefaultSelector()
        self.clients: dict[int, Client] = {}

    def run(self) -> None:
        """Serve until the end of the stack."""
        if self.isolation == "subreaper":
            leftovers.mark_shared(self.directory)
        self._catch_signals()
        if self.lease >= 0:
            os.set_blocking(self.lease, False)
            self.selector.register(self.lease, selectors.EVENT_READ, self._on_lease)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(socket_name(self.id))
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self._on_connect)
        while not self.ending:
            due = (self.children.kill_late(), self.duties.advance(), self.undo.advance())
            wait = min((one for one in due if one is not None), default=None)
            wait = None if wait is None else min(wait, LONGEST)
            for key, events in self.selector.select(wait):
                key.data(key.fileobj, events)
        self._end()

    def _catch_signals(self) -> None:
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(signum, lambda *_: None)
        self.selector.register(read, selectors.EVENT_READ, self._on_signal)

    def _on_signal(self, fd: Any, _: int) -> None:
        received = set(os.read(fd, 4096))
        if received - {signal.SIGCHLD}:
            self.ending = True
        for told in self.children.reap():
            line = json.dumps({"event": "exit", **told}).encode() + b"\n"
            for client in list(self.clients.values()):
                if client.subscribed:
                    self._send(client, line)

    def _on_lease(self, fd: Any, _: int) -> None:
        try:
            if os.read(fd, 4096) == b"":
                self.ending = True
        except BlockingIOError:
            return

    def _on_connect(self, listener: Any, _: int) -> None:
        try:
            connection, _address = listener.accept()
        except BlockingIOError:
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] != os.getuid():
            connection.close()
            return
        connection.setblocking(False)
        self.clients[connection.fileno()] = Client(connection)
        self.selector.register(connection, selectors.EVENT_READ, self._on_client)

    def _on_client(self, connection: Any, events: int) -> None:
        client = self.clients[connection.fileno()]
        if events & selectors.EVENT_WRITE:
            self._send(client, b"")
        if not events & selectors.EVENT_READ:
            return
        try:
            data = connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        *lines, client.incoming = (client.incoming + data).split(b"\n")
        for line in lines:
            if connection.fileno() not in self.clients:
                return  # dropped: it could not be told; what it armed from now on would never be undone
            self._send(client, json.dumps(self._answer(client, line)).encode() + b"\n")

    def _answer(self, client: Client, line: bytes) -> dict[str, Any]:
        """The reply to one request; whatever is wrong with it is told, never fatal."""
        number = None
        try:
            request = json.loads(line)
            number = request.get("id")
            return {"id": number, "ok": True, **self._do(client, request)}
        except (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError, RecursionError) as error:
            return {"id": number, "ok": False, "error": f"{type(error).__name__}: {error}"}

    def _do(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        match request["op"]:
            case "info":
                return {"stack": self.id, "isolation": self.isolation, "pid": os.getpid(), "leased": self.lease >= 0}
            case "start":
                spec = {key: request[key] for key in ("argv", "env", "cwd", "log")}
                return {"pid": self.children.start(request["name"], spec).pid}
            case "restart":
                return {"pid": self.children.start(request["name"], self.children.table[request["name"]].spec).pid}
            case "signal":
                send(self.children.running(request["name"]).pid, int(request["signal"]), bool(request.get("tree")))
            case "stopped":
                return {"stopped": stopped(self.children.running(request["name"]).pid)}
            case "limits":
                return {"pids": limits.read(self.children.running(request["name"]).pid)}
            case "limit":
                return {"limits": limits.lower(self.children.running(request["name"]).pid, int(request["spare"]))}
            case "space":
                return space(request["path"], request["file"])
            case "throttle":
                self.duties.begin(request["name"], float(request["share"]), float(request["period"]))
            case "throttled":
                return self.duties.report(request["name"])
            case "arm":
                seconds = request.get("for")
                self.undo.arm(
                    client,
                    request["key"],
                    request["label"],
                    request["steps"],
                    None if seconds is None else float(seconds),
                )
            case "undo":
                self.undo.undo(request["key"])
            case "undo-list":
                return {"entries": self.undo.report()}
            case "stop":
                self.children.stop(request["name"], int(request["signal"]), float(request["grace"]))
            case "status":
                reports = {name: child.report() for name, child in self.children.table.items()}
                return {"processes": reports, "exits": self.children.exits}
            case "subscribe":
                client.subscribed = True
            case "release":
                if self.lease >= 0:
                    self.selector.unregister(self.lease)
                    os.close(self.lease)
                    self.lease = -1
            case "shutdown":
                self.ending = True
            case other:
                raise ValueError(f"unknown op {other!r}")
        return {}

    def _send(self, client: Client, data: bytes) -> None:
        if client.socket.fileno() not in self.clients:
            return
        client.outgoing += data
        try:
            while client.outgoing:
                client.outgoing = client.outgoing[client.socket.send(client.outgoing) :]
        except BlockingIOError:
            if len(client.outgoing) > MAX_PENDING:
                self._drop(client)
                return
        except OSError:
            self._drop(client)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outgoing else 0)
        self.selector.modify(client.socket, wanted, self._on_client)

    def _drop(self, client: Client) -> None:
        if self.clients.pop(client.socket.fileno(), None) is not None:
            self.selector.unregister(client.socket)
            client.socket.close()
            self.undo.closed(client)

    def _end(self) -> None:
        """Kill everything, then remove what the stack leaves. What faults changed goes with it."""
        until = time.monotonic() + 4
        while time.monotonic() < until and self._kill_all():
            time.sleep(0.002)
        if self.isolation == "subreaper":
            leftovers.remove_segments(self.directory)
            leftovers.remove_outside(self.directory)
        leftovers.remove_directory(self.directory)
        leftovers.remove_directory(self.scratch)

    def _kill_all(self) -> bool:
        """SIGKILL to everything below; True while something is left."""
        if self.isolation != "subreaper" and os.getpid() == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # everything in this PID namespace but this process
        else:
            for pid in procfs.children(os.getpid()):
                procfs.kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return False
        return True


def space(directory: str, file: str) -> dict[str, Any]:
    """Bytes of a file system as this namespace sees it: its size, what is free, what `file` in it holds."""
    told = os.statvfs(directory)
    try:
        held = os.stat(file).st_blocks * 512  # noqa: PTH116 - standard library only, and texts
    except FileNotFoundError:
        held = 0
    return {"size": told.f_blocks * told.f_frsize, "free": told.f_bfree * told.f_frsize, "held": held}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--isolation", choices=["pidns", "userns", "subreaper"], required=True)
    parser.add_argument("--lease", type=int, default=-1)
    options = parser.parse_args()
    for fd in Path("/proc/self/fd").iterdir():  # the lock, the ports and the lease are ours alone
        if int(fd.name) > 2:
            with contextlib.suppress(OSError):  # the listing's own descriptor
                os.set_inheritable(int(fd.name), False)
    Supervisor(options.id, options.dir, options.scratch, options.isolation, options.lease).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
