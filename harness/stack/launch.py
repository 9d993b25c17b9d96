"""Starting a supervisor, and being the one whose life its stack hangs on."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
import weakref
from pathlib import Path

import harness
from harness.core.errors import HarnessError
from harness.core.ids import new_id
from harness.stack.control import Control
from harness.stack.isolation import Isolation, best_isolation, guardian_command
from harness.stack.ports import PortBlock
from harness.stack.sweep import is_live, scratch_dir, stacks_dir

START_SECONDS = 20.0
_HIGH_FD = 20


_HELD: weakref.WeakSet[Launched] = weakref.WeakSet()


class Launched:
    """A supervisor that this process started. While the lease is held, the stack dies with this process."""

    def __init__(self, python: str, ports: PortBlock) -> None:
        """Start guardian and supervisor. Raises HarnessError supervisor-failed with what they said."""
        self.id = new_id()
        self.isolation: Isolation = best_isolation()
        self.directory = stacks_dir() / self.id
        self.directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        read, self._lease = os.pipe2(os.O_CLOEXEC)
        _HELD.add(self)
        inherited = fcntl.fcntl(read, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
        os.close(read)
        self._said = os.memfd_create("slo-harness-guardian")
        scratch = scratch_dir(self.id)
        argv = guardian_command(self.isolation, self.directory, scratch, self.id, python, inherited)
        try:
            self._guardian = subprocess.Popen(
                argv,
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,
                pass_fds=(inherited, ports.fd),
            )
        except BaseException:
            self.drop_lease()
            raise
        finally:
            os.close(inherited)
            ports.close()
        try:
            self.control = self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> Control:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                return Control(self.id)
            except HarnessError as error:
                if self._guardian.poll() is not None or time.monotonic() > until:
                    said = os.pread(self._said, 4096, 0).decode(errors="replace").strip()
                    raise HarnessError(
                        "supervisor-failed",
                        f"the supervisor ({self.isolation}) did not start: {said or error.cause}",
                        "Try SLO_HARNESS_ISOLATION=subreaper, which needs no right to namespaces.",
                    ) from error
            time.sleep(0.005)

    def drop_lease(self) -> None:
        """Close this process's hold on the stack."""
        lease, self._lease = self._lease, -1
        if lease >= 0:
            os.close(lease)

    def release(self) -> None:
        """Let the stack outlive this process."""
        self.control.ask("release")
        self.drop_lease()

    def close(self) -> None:
        """End the stack and wait until nothing of it is left. May be called again."""
        self.drop_lease()
        try:
            self._guardian.wait(15)
        except subprocess.TimeoutExpired:
            raise HarnessError(
                "stack-lingers", f"stack {self.id} did not end in 15 s", f"Look for processes below {self.directory}."
            ) from None
        if self._said >= 0:
            os.close(self._said)
            self._said = -1


def _forked() -> None:
    """A forked child has the lease too, and would keep the stack alive when its parent is killed."""
    for one in list(_HELD):
        one.drop_lease()


os.register_at_fork(after_in_child=_forked)


def wait_gone(directory: Path, seconds: float = 15.0) -> None:
    """Wait until a stack that is not ours has ended. Raises HarnessError stack-lingers."""
    until = time.monotonic() + seconds
    while directory.exists() and is_live(directory):
        if time.monotonic() > until:
            raise HarnessError("stack-lingers", f"{directory.name} did not end in {seconds:.0f} s", "Try again.")
        time.sleep(0.02)


def _environment() -> dict[str, str]:
    """The guardian's: little, and where this package is to be found."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(Path(harness.__file__).resolve().parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
