"""SIGKILL of a stack's holder at random moments of its life: nothing may be left 5 s later (`make prove-cleanup`)."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.core.jsonio import write_json
from harness.core.paths import cache_dir
from harness.stack import procfs
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.remains import Seen, observe, poll, wait_clean

ROOT = Path(__file__).parent.parent.parent
LIMIT_SECONDS = 5.0
STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: cleanup}
spec:
  timeScale: 15
  services:
    postgres: {use: postgres}
    redis: {use: redis}
    milvus: {use: milvus}
    prometheus: {use: prometheus}
  links:
    client->postgres: {to: postgres.sql}
    client->milvus: {to: milvus.grpc}
  scrape: {prometheus: prometheus.http, milvus: milvus.metrics}
  target: redis.resp
"""


def hold(stack: Path, state_home: Path, *flags: str) -> subprocess.Popen[str]:
    """Start a holder whose stacks live under `state_home`."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.proofs.holder", str(stack), *flags],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(state_home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def read_until(holder: subprocess.Popen[str], key: str) -> dict[str, Any]:
    """The first line of the holder that has `key`. Raises AssertionError when it ends or fails before."""
    assert holder.stdout is not None
    for line in holder.stdout:
        told: dict[str, Any] = json.loads(line)
        if key in told:
            return told
        assert "error" not in told, told
    raise AssertionError(f"the holder ended with {holder.wait()} before it told {key!r}")


def release(holder: subprocess.Popen[str]) -> None:
    """Reap a holder that has ended, and close our ends of its pipes."""
    holder.wait(30)
    for pipe in (holder.stdin, holder.stdout):
        if pipe is not None:
            pipe.close()


def first_fork(holder: subprocess.Popen[str]) -> None:
    """Wait until the holder has a child: the moment from which there is something to leave behind."""
    poll(lambda: holder.poll() is not None or bool(procfs.children(holder.pid)), 60, "the first fork")


def life(stack: Path, state_home: Path) -> float:
    """Seconds from the first fork of a holder until its stack is ready."""
    holder = hold(stack, state_home)
    first_fork(holder)
    began = time.monotonic()
    read_until(holder, "ready")
    seconds = time.monotonic() - began
    assert holder.stdin is not None
    holder.stdin.close()
    release(holder)
    return seconds


def one_kill(stack: Path, state_home: Path, moment: float) -> dict[str, Any]:
    """Kill a holder `moment` seconds after its first fork, and look for what is left."""
    seen: Seen = observe(state_home / "slo-harness", cache_dir())
    holder = hold(stack, state_home)
    first_fork(holder)
    time.sleep(moment)
    seen.look(holder.pid)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    seconds, left = wait_clean(seen, LIMIT_SECONDS)
    release(holder)
    return {
        "moment_s": round(moment, 3),
        "processes": len(seen.processes),
        "ports": len(seen.inodes),
        "clean_after_s": round(seconds, 3),
        "left": left,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    chance, before = random.Random(options.seed), cpu_times()
    with tempfile.TemporaryDirectory() as scratch:
        stack, state_home = Path(scratch) / "stack.yaml", Path(scratch) / "state"
        stack.write_text(STACK)
        life(stack, state_home)  # fills the caches
        ready = life(stack, state_home)
        kills: list[dict[str, Any]] = []
        for number in range(options.kills):
            kill = one_kill(stack, state_home, chance.uniform(0, 1.3 * ready))
            kills.append(kill)
            shown = "clean" if not kill["left"] else f"LEFT {kill['left']}"
            print(
                f"{number + 1}/{options.kills}: killed {kill['moment_s']:.2f} s after the first fork "
                f"({kill['processes']} processes, {kill['ports']} ports): {shown} after {kill['clean_after_s']:.2f} s",
                flush=True,
            )
    clean = sum(not kill["left"] for kill in kills)
    result = {
        "seed": options.seed,
        "kills": len(kills),
        "clean": clean,
        "limit_s": LIMIT_SECONDS,
        "slowest_s": max((kill["clean_after_s"] for kill in kills), default=0.0),
        "ready_s": round(ready, 3),
        "after_ready": sum(kill["moment_s"] > ready for kill in kills),
        "conditions": conditions(before),
        "runs": kills,
    }
    write_json(options.out, result)
    print(f"{clean} of {len(kills)} clean, the slowest after {result['slowest_s']:.2f} s")
    return 0 if clean == len(kills) else 1


if __name__ == "__main__":
    sys.exit(main())
