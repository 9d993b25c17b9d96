"""Ports of a stack: a block that no other stack has, each port seen to be free; and fixed ports, or who has them."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import HarnessError
from harness.stack import procfs

FIRST = 20_000
BLOCK = 64
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_HIGH_FD = 20  # above the descriptors that the guardian's shell uses


def ephemeral_start() -> int:
    """The first port that the kernel gives to outgoing connections, which must not be taken for servers."""
    return int(_RANGE.read_text().split()[0])


def is_free(port: int) -> bool:
    """Whether a server could listen on `port`, on every IPv4 address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


class PortBlock:
    """A reserved block; it is reserved as long as any process holds `fd` open."""

    def __init__(self, fd: socket.socket, start: int, free: list[int]) -> None:
        self._socket = fd
        self.fd = fd.fileno()
        self.start = start
        self._free = free

    @classmethod
    def reserve(cls, count: int) -> PortBlock:
        """A block with at least `count` free ports. Raises HarnessError no-ports."""
        for start in _blocks():
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                holder.bind(f"\0slo-harness-ports-{start}")
            except OSError:
                holder.close()
                continue
            free = [port for port in range(start, start + BLOCK) if is_free(port)]
            if len(free) >= count:
                high = fcntl.fcntl(holder.fileno(), fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
                holder.close()
                return cls(socket.socket(fileno=high), start, free)
            holder.close()
        raise HarnessError(
            "no-ports",
            f"no block of {BLOCK} ports from {FIRST} on has {count} free",
            "End stacks that are not needed (harness stack down), or other servers on these ports.",
        )

    def take(self) -> int:
        """The next free port of the block."""
        return self._free.pop(0)

    def close(self) -> None:
        """Give up this process's hold."""
        self._socket.close()


def _blocks() -> Iterator[int]:
    end = ephemeral_start()
    if end < FIRST + BLOCK:  # a machine where everything is ephemeral: the checks must do
        end = 32_768
    yield from range(FIRST, end - BLOCK + 1, BLOCK)


def fixed_port(service: str, name: str, port: int) -> int:
    """`port`, if it is free. Raises HarnessError port-taken with the process that listens there."""
    if is_free(port):
        return port
    raise HarnessError(
        "port-taken",
        f"port {port}, fixed for {service}.{name}, is taken by {_listener(port)}",
        f"End that process, or take the number out of stack.yaml so that {service} gets a free port.",
    )


def _listener(port: int) -> str:
    who = procfs.owner(procfs.listeners().get(port, set()))
    return f"{who[1]} (process {who[0]})" if who else "a process that is not visible to this user"
