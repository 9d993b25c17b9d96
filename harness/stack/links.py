"""The other end of the control channel of the links' proxy."""

from __future__ import annotations

import json
import os
import socket
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, UsageError
from harness.stack.proxy.address import address_of

HOST = "127.0.0.1"
TIMEOUT = 10.0  # seconds for one answer; the proxy does nothing that takes long


@dataclass(frozen=True, slots=True)
class Links:
    """The links of a stack. control: the unix socket of their proxy; near: link -> port of the near end."""

    control: Path
    near: Mapping[str, int]

    def connect(self) -> LinkControl:
        """A control connection of its own. Raises HarnessError links-lost."""
        return LinkControl(self.control)


class LinkControl:
    """A control connection: the faults that are set through it last as long as it is open, in this process alone.

    Methods raise HarnessError links-lost when the proxy is gone, UsageError link-unknown and fault-parameter when it
    says no.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(TIMEOUT)
        try:
            with address_of(path) as address:
                self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise _lost(error) from error
        self._lines = self._socket.makefile("rb")
        _open.add(self)

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One request, one answer; harness.stack.proxy.control has them."""
        try:
            self._socket.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
            line = self._lines.readline()
        except (OSError, ValueError) as error:
            raise _lost(error) from error
        if not line.endswith(b"\n"):
            raise _lost(EOFError("it closed the connection"))
        answer: dict[str, Any] = json.loads(line)
        if answer["ok"]:
            return answer
        if answer["slug"] == "link-unknown":
            raise UsageError("link-unknown", answer["error"], "Use a name that stands under `links` in stack.yaml.")
        raise UsageError("fault-parameter", answer["error"], "docs/faults.md has the parameters of each fault.")

    def close(self) -> None:
        """Undoes every fault that was set through it; a second call does nothing."""
        self._lines.close()
        self._socket.close()


_open: weakref.WeakSet[LinkControl] = weakref.WeakSet()


def _close_in_child() -> None:
    """A forked child must not keep a fault alive after its parent's death."""
    for control in list(_open):
        control.close()


os.register_at_fork(after_in_child=_close_in_child)


def _lost(error: Exception) -> HarnessError:
    return HarnessError(
        "links-lost",
        f"the proxy of the links does not answer: {error}",
        "Faults ended with it, and so did the links. Look at the log of `links`, and bring the stack up again.",
    )
