"""Programs of unpacked packages that look for files where the package would have put them: they are shown them there.

Debian's Alertmanager opens /usr/share/prometheus/alertmanager/default.tmpl, whatever it is told.
"""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.stack.services.recipe import Tool

_SHARE = Path("/usr/share")
_USER = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount")
# $1 the package's share directory; a union with the machine's own where the kernel has it, else in its place.
_SHOWN = """
union="ro,lowerdir=$1:/usr/share"
mount -t overlay slo-harness -o "$union" /usr/share 2>/dev/null || mount --bind "$1" /usr/share || exit 1
shift
exec "$@"
"""


def shown_its_files(tool: Tool, needed: str) -> tuple[str, ...]:
    """What to put before the command of `tool` so that it finds `needed`, a path below /usr/share; often nothing."""
    share = tool.path.parent.parent / "share"
    if (_SHARE / needed).exists() or not (share / needed).exists():
        return ()
    return (*_mounting(), "sh", "-c", _SHOWN, "slo-harness", str(share))


def check_shown(tool: Tool, needed: str, name: str) -> None:
    """Raises HarnessError cannot-mount (not-validated) where it has to be shown its files and may not be."""
    if shown_its_files(tool, needed) and not may_mount():
        raise HarnessError(
            "cannot-mount",
            f"{tool.path} looks for /usr/share/{needed}, and this user may make no mount namespace to show it there",
            f"install {name} for the whole machine, or put the upstream program on PATH",
            outcome=Outcome.NOT_VALIDATED,
        )


def may_mount() -> bool:
    """Whether this user may make a mount namespace, and mount in it."""
    return _works(_mounting())


def _mounting() -> tuple[str, ...]:
    return ("unshare", "--mount") if os.geteuid() == 0 else _USER


@functools.cache
def _works(prefix: tuple[str, ...]) -> bool:
    command = [*prefix, "sh", "-c", "mount --bind /usr /usr"]
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except FileNotFoundError:
        return False
