"""Percentiles that the client records of a server whose latencies follow a known law.

    python -m tests.proofs.load_laws --trials 1 --into results/proofs/load.json      this part alone
    python -m tests.proofs.load_laws --serve LAW COUNT                               the server

The server draws no random numbers: request number n gets quantile (i + 1/2) / COUNT of the law, where i runs through a
fixed permutation, so what the client should see is the law and not a sample of it. It spins on core 0 and answers each
request when it is due, to some tens of microseconds; an event loop's timers round to a millisecond.
"""

from __future__ import annotations

import heapq
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.model.load import LoadPlan
from tests.proofs.load_arrivals import drive
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.part import measure_part

SECOND = 1_000_000_000
RATE, COUNT = 400, 16_000
SCENARIO = Path(__file__).parents[2] / "harness/load/null_scenario.py"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
QUANTILES = (0.5, 0.99, 0.999)
MUST, AIM = 0.01, 0.003
Floats = npt.NDArray[np.float64]


def lognormal(share: Floats) -> Floats:
    return np.asarray(0.04 * np.exp(0.6 * stats.norm.ppf(share)))


def bimodal(share: Floats) -> Floats:
    """Nine of ten around 30 ms, one around 250 ms."""
    low, high = stats.norm(0.03, 0.003), stats.norm(0.25, 0.02)
    return np.asarray(np.where(share < 0.9, low.ppf(np.minimum(share / 0.9, 1 - 1e-12)), high.ppf((share - 0.9) / 0.1)))


def heavy_tail(share: Floats) -> Floats:
    """Pareto from 20 ms on with exponent 1.6, cut at 5 s."""
    return np.asarray(np.minimum(0.02 * (1 - share) ** (-1 / 1.6), 5.0))


LAWS: dict[str, Callable[[Floats], Floats]] = {
    "lognormal": lognormal, "bimodal": bimodal, "heavy tail": heavy_tail,
}  # fmt: skip


def serve(law: str, count: int) -> None:
    """Say the port; answer until standard input ends."""
    os.sched_setaffinity(0, {0})
    shares = (np.random.default_rng(7).permutation(count) + 0.5) / count
    latencies = (LAWS[law](shares) * 1e9).astype(np.int64).tolist()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    chosen = selectors.EpollSelector()
    chosen.register(listener, selectors.EVENT_READ)
    chosen.register(sys.stdin, selectors.EVENT_READ)
    print(listener.getsockname()[1], flush=True)
    due: list[tuple[int, int, socket.socket]] = []
    number = 0
    while True:
        now = time.monotonic_ns()
        while due and due[0][0] <= now:
            heapq.heappop(due)[2].send(REPLY)
        for key, _ in chosen.select(0):
            if key.fileobj is listener:
                made, _ = listener.accept()
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                chosen.register(made, selectors.EVENT_READ)
            elif key.fileobj is sys.stdin:
                return
            else:
                asked = key.fileobj
                assert isinstance(asked, socket.socket)
                if not asked.recv(65536):
                    chosen.unregister(asked)
                    asked.close()
                    continue
                heapq.heappush(due, (time.monotonic_ns() + latencies[number % count], number, asked))
                number += 1


def seen(law: str) -> dict[str, float]:
    """The client's percentiles in seconds, by name."""
    command = [sys.executable, "-m", "tests.proofs.load_laws", "--serve", law, str(COUNT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            host = f"http://127.0.0.1:{process.stdout.readline().strip()}"
            plan = LoadPlan(str(SCENARIO), float(RATE), 0, COUNT // RATE * SECOND, host, users=800)
            latency = drive(plan).select("latency", {"outcome": "ok"}).histogram
        finally:
            process.kill()
    if latency.count != COUNT:
        raise RuntimeError(f"{latency.count} of {COUNT} requests were answered")
    return {str(one): latency.quantile(one) / 1e9 for one in QUANTILES}


def measure_laws(rounds: int) -> dict[str, Any]:
    """What results/proofs/load.json holds of this."""
    before, rows = cpu_times(), []
    for law, quantiles in LAWS.items():
        each = [seen(law) for _ in range(rounds)]
        for one in QUANTILES:
            truth = float(quantiles(np.array([one]))[0])
            ours = median(found[str(one)] for found in each)
            off = abs(ours - truth) / truth
            rows.append({"measure": f"{law}, p{one * 100:g}", "ours": ours, "truth": truth, "off": round(off, 5),
                         "must": MUST, "aim": AIM, "held": off <= MUST})  # fmt: skip
            print(rows[-1], flush=True)
    return {"rows": rows, "held": all(row["held"] for row in rows), "conditions": conditions(before)}


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2], int(sys.argv[3]))
        sys.exit(0)
    sys.exit(measure_part("laws", measure_laws))
