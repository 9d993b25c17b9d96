"""`python -m app`: serve until SIGTERM or SIGINT. Exit code 0 after a stop, 2 where the configuration is unusable."""

from __future__ import annotations

import gc
import os
import signal
import sys

import uvicorn

from app.config import AppConfig
from app.corpus import Corpus, CorpusError
from app.shared.digits import Digits, DigitsError
from app.shared.environment import ConfigError
from app.web import create_app


def main() -> int:
    """One process, one event loop."""
    try:
        config = AppConfig.from_environment(os.environ)
        corpus = Corpus.open(config.stores.corpus)
        digits = Digits.open(config.digits)
        app = create_app(config, corpus, digits)
    except (ConfigError, CorpusError, DigitsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"config-invalid: APP_LOG_FILE: {error}\n")
        return 2
    # uvicorn raises the signal that stopped it once more when it is done; for us that is a normal end.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda _number, _frame: None)
    gc.freeze()  # what is here now stays: a full collection then costs a request little
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
            timeout_keep_alive=75,  # longer than any client keeps a connection idle: we do not hang up first
            timeout_graceful_shutdown=1,
        )
    )
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
