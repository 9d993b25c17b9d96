"""Serving an ASGI application the way all our services do: one process, one event loop, until SIGTERM or SIGINT."""

from __future__ import annotations

import gc
import signal
from typing import Any

import uvicorn

from app.shared.environment import Address


def serve(app: Any, listen: Address) -> int:
    """Returns the exit code: 0 after a stop, 1 where it could not listen."""
    # uvicorn raises the signal that stopped it once more when it is done; for us that is a normal end.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda _number, _frame: None)
    gc.freeze()  # what is here now stays: a full collection then costs a request little
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=listen.host,
            port=listen.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=False,
            log_level="warning",
            timeout_keep_alive=75,  # longer than any client keeps a connection idle: we do not hang up first
            timeout_graceful_shutdown=1,
        )
    )
    server.run()
    return 0 if server.started else 1
