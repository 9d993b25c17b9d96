"""What the links' proxy costs while it has nothing to do, and how exact its latency is (part of `make prove-faults`).

    python -m tests.proofs.faults_proxy --trials 10 --into results/proofs/faults.json      this part alone

Requests: server and proxy share one processor and the client spins on the other. So a request wakes one sleeping
processor either way, directly and through the proxy, and what is added is the proxy's work and two switches between
processes. Bulk: the proxy has one processor to itself, and both ends share the other, with the proxy and without it;
beside it stands what the two ends reach without it on a processor each.

Rounds of both ways follow each other closely, and the differences within rounds are what counts: of them, the median.
A round during which somebody else had more than a little of the processors is made again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from harness.faults import Latency
from harness.faults.waiting import wait_for
from harness.stack.links import Links
from harness.stack.ports import PortBlock
from tests.proofs.machine import conditions, cpu_times, steal_share
from tests.proofs.part import measure_part

RATE, SECONDS, BULK_SECONDS = 1000, 2.3, 1.5
SERVER_CORE, CLIENT_CORE = 0, 1
MOST_STEAL, MOST_OTHERS = 0.02, 0.08  # shares of all processors' time, above which a round is not counted
TRIES = 5  # times as many rounds are tried as are wanted
DELAY_MS, EXACT_MS = 100.0, 1.0
LIMITS = {"added_p50_us": 100.0, "added_p99_us": 1000.0, "bulk_bytes_per_second": 1e9, "bulk_share": 0.5}
TICK = os.sysconf("SC_CLK_TCK")
LINKS = ("requests", "bulk")


class Bench:
    """A proxy with two links and the server behind both."""

    def __init__(self, undo: ExitStack) -> None:
        block = PortBlock.reserve(4)
        undo.callback(block.close)
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        self.near = {name: block.take() for name in LINKS}
        self.far = {name: block.take() for name in LINKS}
        self.links = Links(directory / "control", self.near)
        ready = directory / "ready"
        told = {
            "links": {name: {"listen": self.near[name], "to": self.far[name]} for name in LINKS},
            "ready": str(ready),
            "control": str(self.links.control),
        }
        (directory / "links.json").write_text(json.dumps(told))
        self.proxy = self._start(undo, "harness.stack.proxy", str(directory / "links.json"))
        os.sched_setaffinity(self.proxy, {SERVER_CORE})
        ports = [str(self.far[name]) for name in LINKS]
        self.server = self._start(undo, "tests.proofs.endpoint", "serve", str(SERVER_CORE), *ports)
        if not wait_for(lambda: ready.exists() and self._serves(), 20):
            raise RuntimeError("proxy or server did not start")

    def _start(self, undo: ExitStack, *arguments: str) -> int:
        process = subprocess.Popen([sys.executable, "-m", *arguments])
        undo.callback(process.wait)
        undo.callback(process.kill)
        return process.pid

    def _serves(self) -> bool:
        try:
            self.client("pour", self.far["bulk"], 0.01)
        except subprocess.CalledProcessError:
            return False
        return True

    def client(self, what: str, *arguments: float) -> dict[str, float]:
        """One line of the client's, on its processor. Raises CalledProcessError."""
        argv = [sys.executable, "-m", "tests.proofs.endpoint", what, str(CLIENT_CORE), *map(str, arguments)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def requests(self, ports: dict[str, int]) -> dict[str, float]:
        os.sched_setaffinity(self.server, {SERVER_CORE})
        return self.client("ask", ports["requests"], RATE, SECONDS)

    def bulk(self, ports: dict[str, int], server_core: int) -> float:
        os.sched_setaffinity(self.server, {server_core})
        return self.client("pour", ports["bulk"], BULK_SECONDS)["bytes_per_second"]

    def used(self) -> float:
        """Seconds of processor that proxy, server, this process and its clients have had."""
        return sum(map(_seconds_of, (self.proxy, self.server))) + sum(os.times()[:4])


def _seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def quiet_rounds(bench: Bench, wanted: int, one: Callable[[], dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Rounds during which the machine was left alone, as many as are wanted if there are; and how many were not."""
    found: list[dict[str, Any]] = []
    disturbed = 0
    while len(found) < wanted and len(found) + disturbed < TRIES * wanted:
        before, ours = cpu_times(), bench.used()
        measured = one()
        after, ours = cpu_times(), bench.used() - ours
        busy = sum(after[name] - before[name] for name in ("user", "nice", "system")) / TICK
        others = max(0.0, busy - ours) / (sum(after[name] - before[name] for name in before) / TICK)
        steal = steal_share(before, after)
        is_quiet = steal <= MOST_STEAL and others <= MOST_OTHERS
        measured |= {"steal": round(steal, 4), "others": round(others, 4), "quiet": is_quiet}
        print(f"{len(found)}/{wanted} {measured}" + ("" if is_quiet else " disturbed, not counted"), flush=True)
        if is_quiet:
            found.append(measured)
        else:
            disturbed += 1
    return found, disturbed


def added(direct: dict[str, float], through: dict[str, float], scale: float = 1.0) -> dict[str, float]:
    return {name: round((through[f"{name}_us"] - direct[f"{name}_us"]) * scale, 4) for name in ("p50", "p99")}


def pass_through(bench: Bench) -> dict[str, Any]:
    direct, through = bench.requests(bench.far), bench.requests(bench.near)
    more = added(direct, through)
    return {"direct": direct, "through": through, "added_p50_us": more["p50"], "added_p99_us": more["p99"]}


def bulk(bench: Bench) -> dict[str, Any]:
    direct = bench.bulk(bench.far, CLIENT_CORE)
    through = bench.bulk(bench.near, CLIENT_CORE)
    apart = bench.bulk(bench.far, SERVER_CORE)
    return {
        "bulk_bytes_per_second": through,
        "direct": direct,
        "direct_on_two_cores": apart,
        "bulk_share": round(through / direct, 3),
        "bulk_share_of_two_cores": round(through / apart, 3),
    }


def delayed(bench: Bench) -> dict[str, Any]:
    plain = bench.requests(bench.near)
    with Latency(bench.links, "requests", f"{DELAY_MS:g}ms"):
        late = bench.requests(bench.near)
    more = added(plain, late, 1e-3)
    return {"plain": plain, "late": late, "shift_p50_ms": more["p50"], "shift_p99_ms": more["p99"]}


def measure_proxy(rounds: int) -> dict[str, Any]:
    """What results/proofs/faults.json holds of this. held: all limits, by the medians of undisturbed rounds; False
    where fewer than half as many as were wanted could be had."""
    before = cpu_times()
    parts: dict[str, Any] = {"limits": LIMITS, "delay_ms": DELAY_MS, "exact_ms": EXACT_MS, "rate": RATE}
    with ExitStack() as undo:
        bench = Bench(undo)
        bench.requests(bench.near)  # warm
        for part in (pass_through, bulk, delayed):
            quiet, disturbed = quiet_rounds(bench, rounds, lambda part=part: part(bench))  # type: ignore[misc]
            numbers = {name for one in quiet for name, value in one.items() if isinstance(value, int | float)}
            medians = {name: median(one[name] for one in quiet) for name in sorted(numbers - {"quiet"})}
            enough = 2 * len(quiet) >= rounds
            parts[part.__name__] = {"enough": enough, "medians": medians, "disturbed": disturbed, "rounds": quiet}
            parts[part.__name__]["held"] = enough and _holds(part.__name__, medians)
            print(f"{part.__name__}: {medians}, held {parts[part.__name__]['held']}", flush=True)
    held = all(parts[part.__name__]["held"] for part in (pass_through, bulk, delayed))
    return parts | {"held": held, "conditions": conditions(before)}


def _holds(part: str, found: dict[str, float]) -> bool:
    if part == "pass_through":
        return all(found[name] <= LIMITS[name] for name in ("added_p50_us", "added_p99_us"))
    if part == "bulk":
        return any(found[name] >= LIMITS[name] for name in ("bulk_bytes_per_second", "bulk_share"))
    return abs(found["shift_p50_ms"] - DELAY_MS) <= EXACT_MS


if __name__ == "__main__":
    sys.exit(measure_part("proxy", measure_proxy))
