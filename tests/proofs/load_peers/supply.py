"""Where the peers come from: each is found or fetched by its usual means, or there is a reason why it is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

from harness.core.paths import cache_dir

HERE = Path(__file__).parent
K9 = "k9-load==0.1.0"
BUILD_SECONDS = 3600


class NotHere(Exception):
    """This peer cannot be had here, and why."""


def debian(program: str, package: str) -> str:
    """A program that Debian packages."""
    if (found := shutil.which(program)) is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise NotHere(f"{program} is not installed, and apt-get install {package} needs root and a Debian")
        _run(["apt-get", "install", "-y", "--no-install-recommends", package])
        found = shutil.which(program)
    if found is None:
        raise NotHere(f"the package {package} has no {program}")
    return found


def k6() -> str:
    """Built from the module that k6/go.mod pins; SLO_HARNESS_PEER_K6 names one that is there already."""
    if named := os.environ.get("SLO_HARNESS_PEER_K6"):
        return named
    built = cache_dir() / "peers" / "k6"
    if not built.exists():
        if (go := shutil.which("go")) is None:
            raise NotHere("k6 is built from its Go module, and there is no Go")
        built.parent.mkdir(parents=True, exist_ok=True)
        _run(["nice", "-n", "10", go, "build", "-trimpath", "-o", str(built), "go.k6.io/k6"], HERE / "k6")
    return str(built)


def k9() -> str:
    """In a virtual environment of its own."""
    directory = cache_dir() / "peers" / "k9"
    if not (program := directory / "bin" / "k9").exists():
        venv.create(directory, with_pip=True, clear=True)
        _run([str(directory / "bin" / "pip"), "install", "--quiet", K9])
    return str(program)


def have(peers: dict[str, Callable[[], str]]) -> tuple[dict[str, str], dict[str, str]]:
    """What there is, by name, and of the others why not."""
    found, missing = {}, {}
    for name, supply in peers.items():
        try:
            found[name] = supply()
        except NotHere as reason:
            missing[name] = str(reason)
    return found, missing


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise NotHere(f"{' '.join(command[:4])} ended with {done.returncode}: {' '.join(last)}")
