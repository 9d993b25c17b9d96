"""`python -m app`: serve until SIGTERM or SIGINT. Exit code 0 after a stop, 2 where the configuration is unusable."""

from __future__ import annotations

import os
import sys

from app.config import AppConfig
from app.corpus import Corpus, CorpusError
from app.shared.digits import Digits, DigitsError
from app.shared.environment import ConfigError
from app.shared.serving import serve
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
    return serve(app, config.listen)


if __name__ == "__main__":
    sys.exit(main())
