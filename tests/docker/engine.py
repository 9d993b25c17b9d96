"""A Docker engine of one's own: `python -m tests.docker.engine [--bare] [--install] -- COMMAND...` runs COMMAND in it.

The engine lives in namespaces of its own (network, mounts, processes) with a data root, socket and control group that
nobody else uses, knows the stand-in images (not with --bare), and is gone with all it started when COMMAND has ended or
whoever called this has, by whatever end. There is no way out of its network: what it needs is made before.

Exit code: that of COMMAND; 77 and the reason where no engine can be started on this machine, which in CI is 1.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.core.paths import cache_dir
from tests.docker import template

SKIPPED = 77
ROOT = Path(__file__).parents[2]
_INSTALL_S = 600
_NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")

# Outlives whoever started it, in a session of its own: removes what the engine leaves. $1 the engine's directory; its
# control group has the same name.
_GUARD = """
root=$1
shift
"$@"
code=$?
for group in /sys/fs/cgroup/"$(basename "$root")" /sys/fs/cgroup/*/"$(basename "$root")"; do
  [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
done
rm -rf "$root"
exit $code
"""


class NoEngine(Exception):
    """Why no engine can be started here."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see above."""
    parser = argparse.ArgumentParser(prog="python -m tests.docker.engine", description="run a command with an engine")
    parser.add_argument("--bare", action="store_true", help="without the stand-in images")
    parser.add_argument("--install", action="store_true", help="root: install from Debian what of Docker is missing")
    parser.add_argument("--save", type=Path, metavar="DIRECTORY", help="keep the engine's images there afterwards")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args(argv)
    try:
        need_engine(install=options.install)
        images = None if options.bare else template.ensure()
        return run(options.command, images, save=options.save)
    except NoEngine as error:
        counts = bool(os.environ.get("CI"))
        print(
            f"{'failed' if counts else 'skipped'}: no Docker engine of our own can run here: {error}", file=sys.stderr
        )
        return 1 if counts else SKIPPED


def need_engine(*, install: bool) -> None:
    """Raises NoEngine unless this user may start one and it is there, or `install` could make it so."""
    if not sys.platform.startswith("linux"):
        raise NoEngine("it needs Linux namespaces")
    if os.geteuid() != 0:
        raise NoEngine("only root may start dockerd in namespaces of its own")
    if install and None in (_find("dockerd"), _find("docker-compose")):
        _install()
    for program in ("dockerd", "containerd", "runc", "iptables", "unshare"):
        if _find(program) is None:
            raise NoEngine(f"{program} is not installed (apt-get install docker.io)")
    tried = subprocess.run(["unshare", *_NAMESPACES, "true"], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode != 0:
        raise NoEngine(tried.stderr.strip() or f"unshare ended with {tried.returncode}")


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _install() -> None:
    """docker.io, and the docker-compose that a test wants, from Debian.

    Where systemd runs, the package also starts an engine for the machine: it is not used.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise NoEngine("dockerd is not installed, and there is no apt-get to install it with")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (
        ("update", "-qq"),
        ("install", "-y", "-qq", "--no-install-recommends", "docker.io", "docker-compose"),
    ):
        print(f"apt-get {' '.join(words)}", file=sys.stderr, flush=True)
        try:
            subprocess.run([apt, *words], env=env, timeout=_INSTALL_S, check=True, stdout=subprocess.DEVNULL)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NoEngine(f"docker.io could not be installed: {error}") from error


def engines_dir() -> Path:
    """Where running engines keep their data; beside the images, so that these need not be copied."""
    return cache_dir() / "engines"


def run(command: Sequence[str], images: Path | None, *, save: Path | None = None) -> int:
    """Run `command` with an engine that knows `images` (a directory of template.py) and return its exit code.

    save: where to put the engine's images when `command` has ended well. Raises NoEngine when it does not start.
    """
    root, lock = _new_root()
    data = root / "data"
    data.mkdir()
    if images is not None:
        template.copy(images, data)
    inside = [sys.executable, "-m", "tests.docker.inside", str(root), str(save or "-"), *command]
    lease, ours = os.pipe()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    guard = subprocess.Popen(
        ["sh", "-c", _GUARD, "guard", str(root), "unshare", *_NAMESPACES, "--", *inside],
        env={**env, "SLO_ENGINE_LEASE": str(lease), "SLO_ENGINE_LOCK": str(lock)},
        pass_fds=(lease, lock),
        start_new_session=True,
    )
    os.close(lease)
    os.close(lock)
    ours_by_signal = {
        number: signal.signal(number, lambda told, _frame: os.write(ours, bytes([told])))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        code = guard.wait()
    finally:
        os.close(ours)
        for number, handler in ours_by_signal.items():
            signal.signal(number, handler)
    if code == SKIPPED:
        raise NoEngine("see above")
    return code


def _new_root() -> tuple[Path, int]:
    """A directory for an engine, and the descriptor of a lock on it that says that it is in use.

    Before that, those go whose lock nobody holds any more: every process of such an engine was killed.
    """
    engines_dir().mkdir(parents=True, exist_ok=True)
    with (engines_dir() / ".lock").open("w") as all_engines:
        fcntl.flock(all_engines, fcntl.LOCK_EX)
        for old in engines_dir().glob("slo-engine-*"):
            handle = os.open(old, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for group in groups(old):
                    for inner in sorted(group.rglob("*/"), reverse=True):
                        inner.rmdir()
                    group.rmdir()
                shutil.rmtree(old)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EBUSY):  # in use, or its last processes are still ending
                    raise
            finally:
                os.close(handle)
        root = Path(tempfile.mkdtemp(prefix="slo-engine-", dir=engines_dir()))
        lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return root, lock


def groups(root: Path) -> list[Path]:
    """The control groups of an engine: one, or one in each hierarchy."""
    return [path for pattern in (root.name, f"*/{root.name}") for path in Path("/sys/fs/cgroup").glob(pattern)]


if __name__ == "__main__":
    sys.exit(main())
