"""`python -m harness.stack.docker.emptied HOST HOLDER BALLAST FILE`: a disk that was filled is as it was.

The container BALLAST that fills it is removed, and then FILE, as HOLDER sees it, which has the disk mounted. An undo
step: it ends with 0 when both are gone, and may be done twice. Standard library only.
"""

from __future__ import annotations

import sys

from harness.core.errors import HarnessError
from harness.stack.docker.engine import Engine
from harness.stack.docker.execute import execute
from harness.stack.docker.hosts import Host


def main() -> int:
    host, holder, ballast, file = sys.argv[1:]
    engine = Engine(Host(host))
    try:
        engine.remove_container(ballast)
        execute(engine, holder, ["rm", "-f", file])
    except HarnessError as error:
        sys.stderr.write(f"{error.cause}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
