"""What `unshare --pid --kill-child` does, as far as it can be had without the right to make namespaces.

`python -m harness.stack.subreaper run COMMAND...` runs the command and, when it has ended for whatever reason, kills
every process that it left: orphans below it are handed to this process, their subreaper. Should that be killed too,
`... after ID DIR` finds the rest by what marks it, and removes what a namespace would have taken along.
Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from harness.stack import leftovers, procfs

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Orphaned descendants become children of this process. Raises OSError when the kernel refuses."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def kill_children(seconds: float) -> None:
    """SIGKILL to all children, and to theirs as they are handed over, until none is left."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for pid in procfs.children(os.getpid()):
            procfs.kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def main() -> int:
    if sys.argv[1] == "after":
        return after(sys.argv[2], Path(sys.argv[3]))
    return run(sys.argv[2:])


def run(command: list[str]) -> int:
    """Run `command` to its end; 0 if it ended with 0."""
    become_subreaper()
    inherited = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if int(fd.name) > 2]
    fds = [fd for fd in inherited if _is_open(fd)]
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], pass_fds=fds)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            break
    child.returncode = os.waitstatus_to_exitcode(status)
    kill_children(4)
    return 0 if child.returncode == 0 else 1


def after(stack_id: str, directory: Path) -> int:
    """Kill what still belongs to a stack; remove its shared memory and its stray files."""
    until = time.monotonic() + 4
    while (left := procfs.belonging(stack_id, directory)) and time.monotonic() < until:
        for pid in left:
            procfs.kill(pid)
        time.sleep(0.005)
    leftovers.remove_segments(directory)
    leftovers.remove_outside(directory)
    return 0


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
