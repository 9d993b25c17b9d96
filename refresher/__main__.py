"""`python -m refresher`: refresh until SIGTERM or SIGINT. Exit code 0 after a stop, 2 where it cannot start."""

from __future__ import annotations

import gc
import os
import signal
import sys

import uvicorn

from app.shared.environment import ConfigError
from refresher.config import RefresherConfig
from refresher.web import create_app


def main() -> int:
    """One process, one event loop."""
    try:
        config = RefresherConfig.from_environment(os.environ)
        app = create_app(config)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"config-invalid: APP_LOG_FILE: {error}\n")
        return 2
    # uvicorn raises the signal that stopped it once more when it is done; for us that is a normal end.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda _number, _frame: None)
    gc.freeze()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=config.listen.host,
            port=config.listen.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=False,
            log_level="warning",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
