"""Images that an engine is born with: those of a data root, kept in the user's cache and linked into each new one."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.core.paths import cache_dir
from tests.docker import standins

PREFIX = standins.PREFIX
_KEPT = 2  # another checkout may have others


def copy(source: Path, target: Path) -> None:
    """The images of the stopped engine's data root `source` into `target`, which has none.

    Files of images are never written again by an engine, so they are shared, where the file system can.
    """
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source / "image", target / "image")
    linked = subprocess.run(["cp", "-al", source / "overlay2", target], capture_output=True, check=False)
    if linked.returncode != 0:
        shutil.rmtree(target / "overlay2", ignore_errors=True)
        subprocess.run(["cp", "-a", source / "overlay2", target], check=True)


def ensure() -> Path:
    """The directory with the stand-in images for what is on this machine now; made first where it is missing."""
    templates = cache_dir() / "standins"
    templates.mkdir(parents=True, exist_ok=True)
    wanted = templates / standins.key()
    with (templates / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several may want the same at once
        if not wanted.exists():
            _make(wanted)
        os.utime(wanted)
        by_age = sorted((path for path in templates.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for old in by_age[:-_KEPT]:
            shutil.rmtree(old)
    return wanted


def _make(wanted: Path) -> None:
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=wanted.parent))
    try:
        engine = [sys.executable, "-m", "tests.docker.engine", "--bare", "--save", str(new / "images"), "--"]
        subprocess.run([*engine, sys.executable, "-m", "tests.docker.standins"], check=True, stdout=sys.stderr)
        (new / "images").rename(wanted)
    finally:
        shutil.rmtree(new, ignore_errors=True)
