"""`python -m refresher`: refresh until SIGTERM or SIGINT. Exit code 0 after a stop, 2 where it cannot start."""

from __future__ import annotations

import os
import sys

from app.shared.environment import ConfigError
from app.shared.serving import serve
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
    return serve(app, config.listen)


if __name__ == "__main__":
    sys.exit(main())
