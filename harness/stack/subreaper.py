"""What `unshare --pid --kill-child` does, as far as it can be had without the right to make namespaces.

`python -m harness.stack.subreaper ID DIR COMMAND...` runs the command and, when it has ended for whatever reason,
kills every process that it left: orphans below it are handed to this process, their subreaper. Standard library only.
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
    stack_id, directory, command = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    become_subreaper()
    leftovers.mark_shared(directory)
    inherited = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if int(fd.name) > 2]
    fds = [fd for fd in inherited if _is_open(fd)]
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], pass_fds=fds)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            break
    child.returncode = os.waitstatus_to_exitcode(status)
    kill_children(4)
    for pid in procfs.belonging(stack_id, directory):
        if pid != os.getpid():
            procfs.kill(pid)
    leftovers.remove_segments(directory)
    leftovers.remove_outside(directory)
    return 0 if child.returncode == 0 else 1


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
