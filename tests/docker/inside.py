"""Process 1 of an engine's namespaces: starts dockerd, runs the command, reaps orphans, and takes all with it at its
end.

Called by engine.py as `python -m tests.docker.inside ROOT SAVE COMMAND...`; SLO_ENGINE_LEASE is the descriptor of a
pipe that brings signals for the command and whose end is the end of all, SLO_ENGINE_LOCK that of the lock on ROOT.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tests.docker import template

SOCKET = "/run/docker.sock"  # /run is this engine's own
_READY = "/run/ready.sock"
_READY_S = 60.0
_STOP_S = 30.0
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_LOG_LINES = 8


def main(root: Path, save: str, command: Sequence[str]) -> NoReturn:
    """Never returns: the namespace ends with this process."""
    os.set_inheritable(int(os.environ.pop("SLO_ENGINE_LOCK")), False)
    children = Children(int(os.environ.pop("SLO_ENGINE_LEASE")))
    _prepare(root)
    log = root / "dockerd.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(_READY)
        dockerd = _spawn(_dockerd(root), {**os.environ, "NOTIFY_SOCKET": _READY}, log)
        if not children.wait(dockerd, told=ready, seconds=_READY_S):
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            print("dockerd did not get ready:", *lines, sep="\n  ", file=sys.stderr, flush=True)
            os._exit(77)
    _spawn([sys.executable, "-m", "tests.docker.names", _BRIDGE], os.environ, root / "names.log")
    children.command = running = _spawn(command, _environment(root), None)
    children.wait(running)
    code = os.waitstatus_to_exitcode(children.ended[running])
    if save != "-" and code == 0:
        os.kill(dockerd, signal.SIGTERM)
        children.wait(dockerd, seconds=_STOP_S)
        template.copy(root / "data", Path(save))
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)


class Children:
    """Waits for children, whoever they are, and passes on what the lease says."""

    def __init__(self, lease: int) -> None:
        self.command = 0
        self.ended: dict[int, int] = {}
        self._lease = lease
        self._woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        os.set_inheritable(lease, False)

    def wait(self, child: int, told: socket.socket | None = None, seconds: float | None = None) -> bool:
        """Until `child` has ended, or `told` can be read (then true), or the time is over."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._lease, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            if told is not None:
                selector.register(told, selectors.EVENT_READ)
            while not self._reaped(child):
                ready = [key.fileobj for key, _ in selector.select(seconds)]
                if not ready:
                    return False
                if told in ready:
                    return True
                if self._woken in ready:
                    os.read(self._woken, 512)
                if self._lease in ready:
                    self._lent()
        return False

    def _reaped(self, child: int) -> bool:
        while child not in self.ended:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self.ended[pid] = status
        return child in self.ended

    def _lent(self) -> None:
        told = os.read(self._lease, 64)
        if not told:
            os._exit(128 + signal.SIGKILL)
        if not self.command:  # still starting: nothing to ask to stop
            os._exit(128 + told[0])
        for number in told:
            os.kill(self.command, number)


def _prepare(root: Path) -> None:
    for directory in ("state", "config"):
        (root / directory).mkdir()
    (root / "daemon.json").write_text("{}\n")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "slo-engine", "/run"], check=True)
    Path("/run/lock").mkdir(mode=0o1777)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


_BRIDGE = "172.17.0.1"  # of this network namespace alone


def _dockerd(root: Path) -> list[str]:
    return [
        "dockerd",
        f"--host=unix://{SOCKET}",
        f"--config-file={root / 'daemon.json'}",
        f"--data-root={root / 'data'}",
        "--exec-root=/run/docker",
        "--pidfile=/run/docker.pid",
        f"--cgroup-parent=/{root.name}",
        f"--bip={_BRIDGE}/16",
        f"--dns={_BRIDGE}",
        "--containerd=",
    ]


def _environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DOCKER_CONTEXT"}
    return {
        **kept,
        "DOCKER_HOST": f"unix://{SOCKET}",
        "DOCKER_CONFIG": str(root / "config"),
        "SLO_ENGINE": str(root),
        "XDG_STATE_HOME": str(root / "state"),  # stacks outside cannot be reached from here
        "TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX": template.PREFIX,
        "TESTCONTAINERS_RYUK_DISABLED": "true",  # its image is not to be had
    }


def _spawn(command: Sequence[str], env: Mapping[str, str], log: Path | None) -> int:
    """Start `command`, its output into `log` if there is one; its pid."""
    path = f"{env.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = []
    if log is not None:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
    try:
        return os.posix_spawnp(command[0], list(command), {**env, "PATH": path}, file_actions=actions)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
