"""What differs between machines and moments: run.json, which no verdict reads."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import __version__
from harness.results.rundir import RUN_SCHEMA
from harness.stack.runtime import Stack


def circumstances(
    stack: Stack, began_wall_ns: int, seconds: Mapping[str, float], idle_bytes: Mapping[str, int]
) -> dict[str, Any]:
    """seconds: to_ready, to_targets (all of them scraped) and in_all, since the run began; idle_bytes: resident memory
    by service before the load."""
    return {
        "schema": RUN_SCHEMA,
        "harness": {"version": __version__, "commit": _commit(stack.root)},
        "began_wall_ns": began_wall_ns,
        **{f"seconds_{name}": round(value, 3) for name, value in seconds.items()},
        "machine": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg(),
        },
        "stack": {
            "id": stack.id,
            "name": stack.name,
            "runtime": stack.runtime,
            "app": stack.app,
            "isolation": stack.isolation,
            "reused": stack.reused,
            "images": stack.images,
            "idle_resident_bytes": idle_bytes,
            "services": {one.name: {"version": one.version, "healthy": one.healthy} for one in stack.services()},
        },
    }


def _commit(root: Path) -> str:
    """The git commit of the project under test, or '' outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
