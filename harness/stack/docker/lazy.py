"""Imports of the docker library, testcontainers and theirs, which take a second: when wanted, and one at a time."""

from __future__ import annotations

import importlib
import threading
from typing import Any

_ONE_AT_A_TIME = (
    threading.Lock()
)  # packages that import each other in two threads at once can find each other half made


def load(name: str) -> Any:
    """The module of that name. May be called from any thread."""
    with _ONE_AT_A_TIME:
        return importlib.import_module(name)


def warm() -> None:
    """Import what takes a second to import, in a thread of its own: to be called as soon as it is wanted."""
    threading.Thread(target=load, args=("testcontainers.core.container",), daemon=True).start()
