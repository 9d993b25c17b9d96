"""Debian packages for one user: apt's resolver, mirrors and keys, but lists, cache and files of our own; no root."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

from harness.stack.install_errors import install_failed
from harness.stack.toolspec import DebianSource, Kit

LISTS_MAX_AGE_S = 86_400

# The lists of the system's configuration are cleared: its hooks are for its own cache, not for ours.
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State::Lists "{base}/lists";
Dir::Cache "{base}/cache";
Debug::NoLocking "true";
APT::Sandbox::User "";
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One package to fetch: `version` as apt writes it, with epoch; `size` in bytes, compressed."""

    name: str
    version: str
    size: int


@dataclass(frozen=True, slots=True)
class DebianPlan:
    """What a kit needs on this machine."""

    kit: Kit
    source: DebianSource
    packages: tuple[Package, ...]

    @property
    def version(self) -> str:
        """The main package's version without epoch, fit for a directory name in LD_LIBRARY_PATH (no colon)."""
        (main,) = [package for package in self.packages if fnmatchcase(package.name, self.source.main)][:1]
        return main.version.rpartition(":")[2]

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(package.size for package in self.packages)


class PrivateApt:
    """apt-get with package lists and a cache under `base`.

    status: a dpkg status file to take for the machine's; None: the machine's own. `updated`: whether this object has
    read the lists.
    Every method raises HarnessError `install-failed` with apt's last lines.
    """

    def __init__(self, base: Path, progress: Callable[[str], None], *, status: Path | None = None) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise install_failed("this machine has no apt-get and dpkg-deb, so nothing can be fetched")
        self._base = base
        self._progress = progress
        self._stamp = base / "updated"
        self._complaint: tuple[str, ...] = ()
        self.updated = False
        for name in ("lists/partial", "cache/archives/partial"):
            (base / name).mkdir(parents=True, exist_ok=True)
        text = _CONFIGURATION.format(base=base)
        if status is not None:
            text += f'Dir::State::status "{status}";\n'
        (base / "apt.conf").write_text(text)

    def update(self) -> None:
        """Read the package lists. One broken source among many is told, not fatal: the resolver has the last word."""
        self._progress(f"reading the package lists into {self._base} (the system's own stay as they are)")
        done = self._run("apt-get", "update", "-q")
        self.updated = True
        failed = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W: Failed to fetch"))]
        self._complaint = _tail(done.stdout) if failed or done.returncode else ()
        for line in self._complaint:
            self._progress(f"  apt: {line}")
        if not self._complaint:
            self._stamp.touch()

    def plan(self, kit: Kit, source: DebianSource) -> DebianPlan:
        """What apt would install for `kit` here, less what the table leaves out. Old or missing lists are read anew."""
        if not self.updated and not self._fresh():
            self.update()
        done = self._run("apt-get", "install", "-qq", "--print-uris", *source.packages)
        if done.returncode != 0 and not self.updated:
            self.update()
            return self.plan(kit, source)
        if done.returncode != 0:
            raise install_failed(
                f"apt cannot resolve {' '.join(source.packages)}", self._complaint + _tail(done.stdout), kit
            )
        named = [package for line in done.stdout.splitlines() if (package := _parse_uri(line))]
        wanted = tuple(package for package in named if source.wants(package.name))
        if not any(fnmatchcase(package.name, source.main) for package in wanted):
            raise install_failed(
                f"apt names nothing to fetch for {kit.title}: it counts as installed", _tail(done.stdout), kit
            )
        return DebianPlan(kit, source, wanted)

    def unpack(self, plan: DebianPlan, root: Path) -> None:
        """Fetch the plan's packages, verified by apt against its signed lists, and unpack them below `root`."""
        archives = root.with_name(root.name + ".archives")
        archives.mkdir()
        try:
            names = [f"{package.name}={package.version}" for package in plan.packages]
            done = self._run("apt-get", "download", "-q", *names, cwd=archives)
            if done.returncode != 0:
                raise install_failed(f"apt cannot fetch {plan.kit.title}", _tail(done.stdout), plan.kit)
            for archive in sorted(archives.glob("*.deb")):
                done = self._run("dpkg-deb", "-x", str(archive), str(root))
                if done.returncode != 0:
                    raise install_failed(f"dpkg-deb cannot unpack {archive.name}", _tail(done.stdout), plan.kit)
        finally:
            shutil.rmtree(archives)
        for pattern in plan.source.drop:
            for path in list(root.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _fresh(self) -> bool:
        try:
            return time.time() - self._stamp.stat().st_mtime < LISTS_MAX_AGE_S
        except FileNotFoundError:
            return False

    def _run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        if program == "apt-get":
            arguments = ["-c", str(self._base / "apt.conf"), *arguments]
        return subprocess.run(
            [program, *arguments],
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )


def _tail(output: str, lines: int = 6) -> tuple[str, ...]:
    """The last lines; errors and warnings alone, where there are some."""
    said = [line.strip() for line in output.splitlines() if line.strip()]
    return tuple(([line for line in said if line.startswith(("E:", "W:"))] or said)[-lines:])


def _parse_uri(line: str) -> Package | None:
    """`'URI' redis-tools_5%3a7.0.15-1_amd64.deb 991988 SHA256:...` as apt-get --print-uris writes it."""
    fields = line.split()
    if not line.startswith("'") or len(fields) < 3 or not fields[1].endswith(".deb"):
        return None
    name, version, _ = fields[1].split("_", 2)
    return Package(name, unquote(version), int(fields[2]))
