"""`python -m harness.faults.undo.redis_settings ADDRESS JSON`: give a Redis its settings back.

A Redis that is not there has none of them; one that is started again has its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping

from harness.faults.redis_store import connect

PATIENCE = 20.0  # seconds
PAUSE = 0.1


def restore(address: str, settings: Mapping[str, str]) -> str:
    """What is wrong, '' if nothing."""
    import redis

    client = connect(address, 1.0)
    try:
        client.config_set(*(part for pair in settings.items() for part in pair))
        found = client.config_get(*settings)
        return "" if found == settings else f"settings are {found}"
    except redis.ConnectionError as error:
        return "" if isinstance(error.__cause__ or error.__context__, ConnectionRefusedError) else str(error)
    except redis.RedisError as error:
        return str(error)
    finally:
        client.close()


def main() -> int:
    address, settings = sys.argv[1], json.loads(sys.argv[2])
    until = time.monotonic() + PATIENCE
    while wrong := restore(address, settings):
        if time.monotonic() > until:
            sys.stderr.write(f"redis at {address}: {wrong}\n")
            return 1
        time.sleep(PAUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
