"""What the faults promise: a proxy that costs little, an exact latency, and a system that is as it was (`make
prove-faults`). Each part can be measured by itself, see there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.core.jsonio import write_json
from tests.proofs.faults_proxy import measure_proxy
from tests.proofs.faults_undone import STACK, measure_undone


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found: dict[str, Any] = {"proxy": measure_proxy(options.rounds)}
    write_json(options.out, found)  # before the long part
    found["undone"] = measure_undone(STACK, options.trials, [])
    write_json(options.out, found)
    for name, part in found.items():
        print(f"{name}: {'held' if part['held'] else 'NOT held'}")
    return 0 if all(part["held"] for part in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
