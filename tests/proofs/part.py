"""One part of a proof measured by itself, into the JSON of the whole."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.core.jsonio import read_json, write_json


def measure_part(name: str, measure: Callable[[int], dict[str, Any]]) -> int:
    """The exit code: 1 where `measure(trials)` does not say `held`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--into", type=Path, required=True)
    options = parser.parse_args()
    found = measure(options.trials)
    write_json(options.into, {**read_json(options.into), name: found})
    return 0 if found["held"] else 1
