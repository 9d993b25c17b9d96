"""A server of JSON lines on a unix socket that does not do what it is told: requests are passed on to the real one
after `change`, and its answers back."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any


class Relay:
    """near: where it listens; far: where the real one does. A path, or an abstract address."""

    def __init__(self, near: str, far: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._far, self._change = far, change
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(near)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as real, client.makefile("rb") as asked, real.makefile("rb") as told:
            real.connect(self._far)
            for line in asked:
                real.sendall(json.dumps(self._change(json.loads(line))).encode() + b"\n")
                client.sendall(told.readline())

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
