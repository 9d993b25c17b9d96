"""Runs own_user.py in one worker of the engine until it is killed: python -m tests.proofs.load_peers.own URL USERS"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that it clears up
    plan = LoadPlan(
        str(Path(__file__).with_name("own_user.py")), 0.0, 0, 600 * 10**9, sys.argv[1],
        executor="constant-users", users=int(sys.argv[2]), env={"KIND": os.environ["KIND"]},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        engine = LoadEngine(plan, RunDir.create(Path(directory), "proof"))
        try:
            engine.prepare()
            engine.start()
            for _ in engine.ticks():
                pass
        finally:
            engine.stop()


if __name__ == "__main__":
    main()
