"""The other end of the supervisor's control socket."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from typing import Any

from harness.core.errors import HarnessError
from harness.stack.supervisor import socket_name

TIMEOUT = 10.0  # seconds for one answer; the supervisor does nothing that takes long


class Control:
    """A connection to the supervisor of one stack; its methods may be called from several threads.

    All raise HarnessError: stack-lost when the supervisor is gone, supervisor-refused when it says no.
    """

    def __init__(self, stack_id: str) -> None:
        self._id = stack_id
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(TIMEOUT)
        try:
            self._socket.connect(socket_name(stack_id))
            credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError as error:
            self._socket.close()
            raise self._lost(error) from error
        self.supervisor_pid, uid, _ = struct.unpack("3i", credentials)
        if uid != os.geteuid():  # abstract sockets have no permissions: someone else could sit on the name
            self._socket.close()
            raise self._lost(PermissionError(f"the socket belongs to user {uid}"))
        self._lines = self._socket.makefile("rb")

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One request, one answer."""
        with self._lock:
            try:
                self._socket.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
                line = self._lines.readline()
            except (OSError, ValueError) as error:
                raise self._lost(error) from error
        if not line.endswith(b"\n"):
            raise self._lost(EOFError("it closed the connection"))
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise HarnessError(
                "supervisor-refused", f"{op} {arguments.get('name', '')}: {answer['error']}", "See above."
            )
        return answer

    def wait_closed(self, seconds: float) -> bool:
        """Wait until the supervisor has closed this connection, which it does by ending."""
        self._socket.settimeout(seconds)
        try:
            while self._lines.readline():
                pass
        except TimeoutError:
            return False
        except (OSError, ValueError):
            return True
        return True

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _lost(self, error: Exception) -> HarnessError:
        return HarnessError(
            "stack-lost",
            f"the supervisor of stack {self._id} does not answer: {error}",
            "Its processes ended with it. Bring the stack up again; if this was unasked, look for memory shortage.",
        )
