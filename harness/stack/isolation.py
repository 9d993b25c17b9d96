"""How a stack's processes are held together on this machine, and the guardian that removes what they leave."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from harness.core.errors import HarnessError, UsageError

Isolation = Literal["pidns", "userns", "subreaper"]
VARIABLE = "SLO_HARNESS_ISOLATION"  # to choose one, instead of the strongest that works here

_NAMESPACES = ["--pid", "--fork", "--mount-proc", "--ipc", "--kill-child"]
_UNSHARE: dict[str, list[str]] = {
    "pidns": ["unshare", *_NAMESPACES],
    "userns": ["unshare", "--user", "--map-current-user", "--keep-caps", *_NAMESPACES],
}

# Holds a shared lock on all stacks while it makes and locks the new directory: no sweep takes it for a dead one.
_GUARDIAN = """
exec 8>>"$1/.lock" || exit 1
flock -s 8 && mkdir -m 700 "$2" && exec 9<"$2" && flock -w 5 -x 9 || exit 1
exec 8>&-
directory=$2 scratch=$3
shift 3
"$@"
n=0
while [ -e "$directory" ] || [ -e "$scratch" ]; do
  [ $n -lt 40 ] || exit 1
  rm -rf "$directory" "$scratch" 2>/dev/null || sleep 0.1
  n=$((n+1))
done
"""

# POSIX shared memory is a file system, not part of the IPC namespace: the stack gets one of its own where it may.
_INSIDE = 'mount -t tmpfs -o mode=1777 slo-harness /dev/shm 2>/dev/null; exec "$@"'


@functools.cache
def best_isolation() -> Isolation:
    """The strongest isolation that works here: pidns (root), userns (anyone, where allowed), subreaper.

    Raises UsageError for an unknown name in SLO_HARNESS_ISOLATION, HarnessError tool-missing without util-linux.
    """
    for tool in ("flock", "setpriv", "unshare"):
        if shutil.which(tool) is None:
            raise HarnessError("tool-missing", f"{tool} is not installed", "Install util-linux (apt-get install it).")
    chosen = os.environ.get(VARIABLE)
    if chosen in ("pidns", "userns", "subreaper"):
        return chosen  # type: ignore[return-value]
    if chosen:
        raise UsageError("isolation-unknown", f"{VARIABLE}={chosen}", "Use pidns, userns or subreaper.")
    if os.geteuid() == 0 and _works(_UNSHARE["pidns"]):
        return "pidns"
    if _works(_UNSHARE["userns"]):
        return "userns"
    return "subreaper"


@functools.cache
def user_namespaces() -> bool:
    """Whether this user may make user namespaces and map another id in them."""
    return _works(["unshare", "--user", "--map-user=65534", "--map-group=65534"])


def _works(prefix: list[str]) -> bool:
    done = subprocess.run([*prefix, "true"], capture_output=True, timeout=20, check=False)
    return done.returncode == 0


def guardian_command(
    isolation: Isolation, directory: Path, scratch: Path, stack_id: str, python: str, lease: int
) -> list[str]:
    """The guardian's argv: it makes `directory`, runs the supervisor in its isolation, and removes both directories."""
    supervisor = [python, "-S", "-m", "harness.stack.supervisor", "--id", stack_id, "--dir", str(directory)]
    supervisor += ["--scratch", str(scratch), "--isolation", isolation, "--lease", str(lease)]
    if isolation == "subreaper":
        subreaper = [python, "-S", "-m", "harness.stack.subreaper"]
        after = shlex.join([*subreaper, "after", stack_id, str(directory)])
        inner = ["sh", "-c", f'"$@"; exec {after}', "slo-harness", *subreaper, "run", *supervisor]
    else:
        inner = [*_UNSHARE[isolation], "sh", "-c", _INSIDE, "slo-harness", *supervisor]
    return ["sh", "-c", _GUARDIAN, "slo-harness", str(directory.parent), str(directory), str(scratch), *inner]
