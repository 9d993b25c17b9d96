"""The two ends between which the links' proxy is measured, each a process on a processor of its own choice.

    python -m tests.proofs.endpoint serve CORE PORT BULK_PORT      answers on the one port, swallows on the other
    python -m tests.proofs.endpoint ask CORE PORT RATE SECONDS     one JSON line: latencies in microseconds
    python -m tests.proofs.endpoint pour CORE PORT SECONDS         one JSON line: bytes per second

Requests are due at a fixed rate whatever became of those before, and latency counts from when one was due. The client
spins, so that its own waking up is not in what it measures; plain sockets, so that it costs little itself.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import select
import socket
import sys
import time

import numpy as np

HOST = "127.0.0.1"
CONNECTIONS = 8
REQUEST, REPLY = b"q" * 300, b"a" * 1000
SETTLE = 0.3  # seconds whose requests are not counted
CHUNK = 1 << 20


def serve(port: int, bulk_port: int) -> None:
    """For ever. A bulk connection is told at its end how many bytes came."""
    answering, bulk = (socket.create_server((HOST, one), backlog=128) for one in (port, bulk_port))
    poll = select.epoll()
    listeners = {answering.fileno(): answering, bulk.fileno(): bulk}
    clients: dict[int, socket.socket] = {}
    poured: dict[int, int] = {}  # bulk connections -> bytes
    asked: dict[int, int] = {}  # others -> bytes of a request that is not whole yet
    buffer = bytearray(CHUNK)
    for fd in listeners:
        poll.register(fd, select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in listeners:
                client, _ = listeners[fd].accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[client.fileno()] = client
                poll.register(client.fileno(), select.EPOLLIN)
                (poured if listeners[fd] is bulk else asked)[client.fileno()] = 0
                continue
            client, size = clients[fd], 0
            with contextlib.suppress(ConnectionError):
                size = client.recv_into(buffer)
            if size and fd in poured:
                poured[fd] += size
            elif size:
                whole, asked[fd] = divmod(asked[fd] + size, len(REQUEST))
                client.sendall(REPLY * whole)
            else:
                with contextlib.suppress(ConnectionError):
                    if fd in poured:
                        client.sendall(str(poured.pop(fd)).encode())
                poll.unregister(fd)
                clients.pop(fd).close()


def ask(port: int, rate: float, seconds: float) -> dict[str, float]:
    """Requests in turn over the connections. A connection with a request under way takes the next one all the same."""
    clients = [socket.create_connection((HOST, port)) for _ in range(CONNECTIONS)]
    waiting: dict[int, list[float]] = {}  # when the requests under way were due
    left: dict[int, int] = {}  # bytes of the reply that is coming
    poll = select.epoll()
    for client in clients:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        waiting[client.fileno()], left[client.fileno()] = [], len(REPLY)
        poll.register(client.fileno(), select.EPOLLIN)
    by_fd = {client.fileno(): client for client in clients}
    total, turn, found = int(rate * seconds), itertools.cycle(clients), []
    origin = time.perf_counter() + 0.01
    sent = 0
    while len(found) < total:
        now = time.perf_counter()
        while sent < total and now >= (due := origin + sent / rate):
            client = next(turn)
            client.send(REQUEST)
            waiting[client.fileno()].append(due)
            sent += 1
        for fd, _ in poll.poll(0):
            size = len(by_fd[fd].recv(1 << 16))
            assert size, "the server closed the connection"
            while size:
                part = min(size, left[fd])
                size, left[fd] = size - part, left[fd] - part
                if not left[fd]:
                    found.append((time.perf_counter() - waiting[fd].pop(0)) * 1e6)
                    left[fd] = len(REPLY)
    counted = np.array(found[int(rate * SETTLE) :])
    p50, p99 = np.percentile(counted, [50, 99])
    return {"p50_us": round(float(p50), 1), "p99_us": round(float(p99), 1), "requests": len(counted)}


def pour(port: int, seconds: float) -> dict[str, float]:
    """As fast as it goes, on one connection; the time runs until the other end has said how much came."""
    data = bytes(CHUNK)
    with socket.create_connection((HOST, port)) as client:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        came = int(client.recv(64))
        return {"bytes_per_second": round(came / (time.perf_counter() - began))}


def main() -> int:
    what, core, *numbers = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    gc.disable()
    if what == "serve":
        serve(*map(int, numbers))
    print(json.dumps(ask(int(numbers[0]), *map(float, numbers[1:])) if what == "ask" else pour(
        int(numbers[0]), float(numbers[1])
    )))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
