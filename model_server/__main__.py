"""`python -m model_server`: serve until SIGTERM or SIGINT. Exit code 0 after a stop, 2 where it cannot start."""

from __future__ import annotations

import os
import sys

from app.shared.digits import Digits, DigitsError
from app.shared.environment import ConfigError
from app.shared.serving import serve
from model_server.config import ServerConfig
from model_server.model import Model
from model_server.web import create_app


def main() -> int:
    """One process, one event loop, one thread that computes."""
    try:
        config = ServerConfig.from_environment(os.environ)
        digits = Digits.open(config.digits)
        app = create_app(config, digits, Model.load(digits).predict_proba)
    except (ConfigError, DigitsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"config-invalid: APP_LOG_FILE: {error}\n")
        return 2
    return serve(app, config.listen)


if __name__ == "__main__":
    sys.exit(main())
