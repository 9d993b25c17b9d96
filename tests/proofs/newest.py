"""The current Prometheus and Alertmanager, compiled from the versions that gotools/go.mod here pins.

Their web pages are left out (npm makes those, and the modules lack them), and so is discovery of targets from clouds
(`remove_all_sd`), which is most of the compilation: a stack's copy of a configuration has neither.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.paths import cache_dir
from harness.stack.gomod import needed_go
from harness.stack.install_sdk import Go, clean_environment, find_go

GOTOOLS = Path(__file__).with_name("gotools")
COMMANDS = {"prometheus": ("prometheus", "promtool"), "alertmanager": ("alertmanager", "amtool")}
_STAMP = "github.com/prometheus/common/version.Version"
_PAGES = ("ui/app/dist/elm", "ui/app/dist/mantine")  # of Alertmanager, which does not compile without any


@dataclass(frozen=True, slots=True)
class Newest:
    """Where the commands are, what each module calls its version, and the Go that compiled them."""

    directory: Path
    versions: Mapping[str, str]
    go: str

    def overrides(self) -> dict[str, str]:
        """What makes the harness use them."""
        names = [name for of_module in COMMANDS.values() for name in of_module]
        return {f"SLO_HARNESS_TOOL_{name.upper()}": str(self.directory / name) for name in names}


def build() -> Newest:
    """Compile what is not compiled yet. Modules and packages stay in the cache, below `proofs`."""
    needed = needed_go(GOTOOLS)
    go = find_go(needed)
    if go is None:
        sys.exit(f"Go {needed} or newer is needed on PATH, or named by SLO_HARNESS_GO")
    base = cache_dir() / "proofs"
    base.mkdir(parents=True, exist_ok=True)
    environment = _environment(base)
    modules = {name: _module(go, name, environment) for name in COMMANDS}
    _write_modfile(base, _with_pages(modules["alertmanager"], base / "alertmanager"))
    versions = {name: (module / "VERSION").read_text().strip() for name, module in modules.items()}
    directory = base / "-".join(f"{name}-{version}" for name, version in versions.items())
    for name, commands in COMMANDS.items():
        if all((directory / command).exists() for command in commands):
            continue
        print(f"compiling {name} {versions[name]} with {go.version}", flush=True)
        packages = [f"github.com/prometheus/{name}/cmd/{command}" for command in commands]
        flags = ["-trimpath", "-buildvcs=false", "-tags", "remove_all_sd", f"-modfile={base / 'go.mod'}"]
        stamped = ["-ldflags", f"-s -w -X {_STAMP}={versions[name]}"]
        _go(go, environment, "build", *flags, *stamped, "-o", f"{directory}{os.sep}", *packages)
    return Newest(directory, versions, go.version)


def _module(go: Go, name: str, environment: Mapping[str, str]) -> Path:
    """The directory of a module's sources, downloaded where it is not there."""
    path = f"github.com/prometheus/{name}"
    _go(go, environment, "mod", "download", path)
    return Path(_go(go, environment, "list", "-m", "-f", "{{.Dir}}", path).strip())


def _with_pages(module: Path, copy: Path) -> Path:
    """A copy of Alertmanager's sources with an empty page where its web pages go."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(module, copy)
    for pages in _PAGES:
        (copy / pages).mkdir(parents=True)
        (copy / pages / "index.html").write_text("")
    return copy


def _write_modfile(base: Path, alertmanager: Path) -> None:
    """Our go.mod with Alertmanager replaced by the copy; every version stays the one that is pinned."""
    replaced = f"\nreplace github.com/prometheus/alertmanager => {alertmanager}\n"
    (base / "go.mod").write_text((GOTOOLS / "go.mod").read_text() + replaced)
    shutil.copyfile(GOTOOLS / "go.sum", base / "go.sum")


def _go(go: Go, environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [go.path, *arguments], cwd=GOTOOLS, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"go {' '.join(arguments)} failed")
    return done.stdout


def _environment(base: Path) -> dict[str, str]:
    return clean_environment() | {
        "CGO_ENABLED": "0",
        "GOCACHE": f"{base}/compiled",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOPATH": f"{base}/path",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
