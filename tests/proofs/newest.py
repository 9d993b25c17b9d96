"""The current Prometheus and Alertmanager, compiled from the versions that the go.mod files below gotools pin.

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
from harness.stack.gomod import go_number, needed_go
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
    base = cache_dir() / "proofs"
    base.mkdir(parents=True, exist_ok=True)
    needed = max((needed_go(GOTOOLS / name) for name in COMMANDS), key=go_number)
    go = find_go(needed)
    if go is None:
        sys.exit(f"Go {needed} or newer is needed on PATH, or named by SLO_HARNESS_GO")
    environment = _environment(base)
    modules = {name: _module(go, name, environment) for name in COMMANDS}
    versions = {name: (module / "VERSION").read_text().strip() for name, module in modules.items()}
    directory = base / "-".join(f"{name}-{version}" for name, version in versions.items())
    for name, commands in COMMANDS.items():
        if all((directory / command).exists() for command in commands):
            continue
        print(f"compiling {name} {versions[name]} with {go.version}", flush=True)
        packages = [f"github.com/prometheus/{name}/cmd/{command}" for command in commands]
        flags = ["-trimpath", "-buildvcs=false", "-tags", "remove_all_sd"]
        if name == "alertmanager":
            flags.append(f"-modfile={_with_pages(modules[name], base / name)}")
        stamped = ["-ldflags", f"-s -w -X {_STAMP}={versions[name]}"]
        _go(go, name, environment, "build", *flags, *stamped, "-o", f"{directory}{os.sep}", *packages)
    return Newest(directory, versions, go.version)


def _module(go: Go, name: str, environment: Mapping[str, str]) -> Path:
    """The directory of a module's sources, downloaded where it is not there."""
    path = f"github.com/prometheus/{name}"
    _go(go, name, environment, "mod", "download", path)
    return Path(_go(go, name, environment, "list", "-m", "-f", "{{.Dir}}", path).strip())


def _with_pages(module: Path, copy: Path) -> Path:
    """A go.mod with Alertmanager's sources replaced by a copy that has empty web pages; versions stay as pinned."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(module, copy)
    for pages in _PAGES:
        (copy / pages).mkdir(parents=True)
        (copy / pages / "index.html").write_text("")
    pinned, modfile = GOTOOLS / "alertmanager", copy.with_suffix(".mod")
    replaced = f"\nreplace github.com/prometheus/alertmanager => {copy}\n"
    modfile.write_text((pinned / "go.mod").read_text() + replaced)
    shutil.copyfile(pinned / "go.sum", modfile.with_suffix(".sum"))
    return modfile


def _go(go: Go, name: str, environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [go.path, *arguments], cwd=GOTOOLS / name, env=environment, stdout=subprocess.PIPE, text=True, check=False
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
