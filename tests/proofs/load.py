"""What the load engine promises (`make prove-load`): cost beside other makes, punctuality, percentiles, the recorder.

Each part is a file of its own and can be measured by itself. A part that cannot be measured here, or a peer that cannot
be had, is named as not measured; it has not held then. Numbers of the parts that were measured stand whatever becomes
of the others.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.core.jsonio import read_json, write_json
from tests.proofs.machine import conditions, cpu_times

PARTS = ("recorder", "arrivals", "laws", "http", "milvus")
PART_SECONDS = 7200


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    before = cpu_times()
    found: dict[str, Any] = read_json(options.out) if options.out.exists() else {}
    for name in options.only:
        found.pop(name, None)
        write_json(options.out, found)
        command = [sys.executable, "-m", f"tests.proofs.load_{name}", "--trials", str(options.rounds)]
        code = subprocess.run([*command, "--into", str(options.out)], check=False, timeout=PART_SECONDS).returncode
        found = read_json(options.out)
        if name not in found:
            found[name] = {"held": None, "not_measured": f"the part ended with {code} before it had a result"}
    found["conditions"] = conditions(before)
    write_json(options.out, found)
    _print(found)
    return 0 if all(found.get(name, {}).get("held") is True for name in PARTS) else 1


def _print(found: dict[str, Any]) -> None:
    """The table: what was measured on both sides, what had to be reached, and whether it was."""
    for name in PARTS:
        part = found.get(name, {"not_measured": "left out"})
        for row in part.get("rows", [{"measure": f"{name}, all of it", **part}]):
            said = {True: "held", False: "NOT held", None: "NOT MEASURED"}[row.get("held")]
            sides = " ".join(f"{key} {_number(row[key])}" for key in ("ours", "theirs", "truth", "ratio") if key in row)
            must = f"must {row['must']:g}" if "must" in row else ""
            print(f"{said:13}{row['measure']:34}{sides:52}{must:12}{row.get('not_measured', '')}")


def _number(value: float) -> str:
    return f"{value:.5g}"


if __name__ == "__main__":
    sys.exit(main())
