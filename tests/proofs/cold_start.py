"""From empty caches to a verdict (`make prove-cold`): a clean clone, a new home, and `make slo`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.core.jsonio import read_json, write_json
from tests.proofs.machine import conditions, cpu_times

LIMIT_SECONDS = 15 * 60
VALIDATIONS = 4
SETTINGS = ("PATH", "LANG", "PIP_", "UV_", "GOPROXY", "GONOSUMDB", "GOSUMDB")
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    before = cpu_times()
    with tempfile.TemporaryDirectory() as empty:
        home, clone = Path(empty) / "home", Path(empty) / "clone"
        home.mkdir()
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        asked = ["git", "-C", str(clone), "rev-parse", "HEAD"]
        commit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        # how packages are reached is the machine's affair: its settings come along, its caches do not
        kept = {name: text for name, text in os.environ.items() if name.startswith(SETTINGS)}
        env = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_STATE_HOME": str(home / "state")}
        began = time.monotonic()
        done = subprocess.run(["make", "slo"], cwd=clone, env=env, check=False)
        seconds = round(time.monotonic() - began, 1)
        verdicts = [read_json(path) for path in sorted(clone.glob("results/*-*/verdict.json"))]
    outcomes = {verdict["name"]: verdict["outcome"] for verdict in verdicts}
    held = (
        done.returncode == 0 and len(outcomes) == 4 and set(outcomes.values()) == {"pass"} and seconds <= LIMIT_SECONDS
    )
    proof = {
        "limit_seconds": LIMIT_SECONDS,
        "seconds": seconds,
        "outcomes": outcomes,
        "exit_code": done.returncode,
        "commit": commit,
        "held": held,
        "conditions": conditions(before),
    }
    write_json(options.out, proof)
    print(f"{seconds} s from empty caches to {outcomes}, limit {LIMIT_SECONDS} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
