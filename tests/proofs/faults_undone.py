"""Every fault many times, set by processes of which half are killed at random moments: the system must be as it was
(part of `make prove-faults`).

    python -m tests.proofs.faults_undone --trials 20 --into results/proofs/faults.json [--only NAME ...] [--stack FILE]

On the reference system, with the examples of `harness.faults.examples`. Each time a child of its own sets the fault;
every second one gets SIGKILL at a moment that is drawn evenly from its whole life: before the fault, while it begins,
in force, while it ends. Then `tests.proofs.steady` must find nothing that differs from the picture before.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.jsonio import read_json, write_json
from harness.faults.examples import EXAMPLES
from harness.faults.making import make
from harness.faults.registry import FAULTS
from harness.faults.waiting import wait_for
from harness.gate.catalogue_all import why_not
from harness.model.events import Event, StackEvent
from harness.stack.control import Control
from harness.stack.handle import Stack
from harness.stack.runtime import up
from harness.telemetry.targets import await_targets
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.steady import Picture, difference, picture

STACK = Path(__file__).parent.parent.parent / "stack.yaml"
SEED = 20_261_126
HOLD = 0.3  # seconds in force
PATIENCE = 60.0  # seconds until the system must be as it was: a service may have to start
LIFE = 120.0  # seconds that a child may take


class Setter:
    """A child that sets a fault, holds it for a moment, and ends it. It says `begun` and `ended`, or what was wrong."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.began = time.monotonic()
        self.said: list[tuple[str, float]] = []  # and seconds since its start
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(read)
            _set(stack, name, write)
        os.close(write)
        self._read = read

    def live(self, moment: float | None) -> None:
        """Until it has ended, or to `moment` (seconds since its start), when it is killed."""
        until = self.began + (LIFE if moment is None else moment)
        while True:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                os.kill(self.pid, signal.SIGKILL)
                self.said.append(("killed", time.monotonic() - self.began))
                break
            if not (told := os.read(self._read, 4096)):
                break
            self.said += [(one, time.monotonic() - self.began) for one in told.decode().splitlines()]
        os.waitpid(self.pid, 0)
        os.close(self._read)

    def when(self, word: str) -> float | None:
        return next((seconds for said, seconds in self.said if said == word), None)


def _set(stack: Stack, name: str, write: int) -> None:
    """In the child, which has nothing of its parent's but the addresses."""
    code = 1
    try:
        own = Stack(stack._layout, Control(stack.id), stack._info, launched=None, reused=True)
        values = dict(EXAMPLES[name])
        if "expect_traffic" in FAULTS[name].takes.model_fields:
            values["expect_traffic"] = False
        with make(own, name, values):
            os.write(write, b"begun\n")
            time.sleep(HOLD)
        os.write(write, b"ended\n")
        code = 0
    except HarnessError as error:
        os.write(write, f"{error.slug}: {error.cause}\n".encode())
    finally:
        if (bug := sys.exception()) is not None:  # which the parent tells
            os.write(write, "".join(traceback.format_exception(bug)).replace("\n", " | ").encode() + b"\n")
        os._exit(code)


def await_steady(stack: Stack, before: Picture) -> tuple[list[str], float]:
    """What differs at last, and after how many seconds nothing did."""
    began = time.monotonic()
    different: list[str] = []

    def steady() -> bool:
        different[:] = difference(before, picture(stack))
        return not different

    wait_for(steady, PATIENCE)
    return different, time.monotonic() - began


def one_trial(stack: Stack, name: str, before: Picture, moment: float | None) -> dict[str, Any]:
    setter = Setter(stack, name)
    setter.live(moment)
    different, seconds = await_steady(stack, before)
    words = [word for word, _ in setter.said]
    wrong = [word for word in words if word not in ("begun", "ended", "killed")]
    if "killed" not in words:
        stage = "not killed"
    else:
        stage = "before it was in force" if "begun" not in words else "in force" if "ended" not in words else "after"
        if "begun" in words and (setter.when("killed") or 0) - (setter.when("begun") or 0) > HOLD:
            stage = "while it ended"
    died = [f"{one.service} {one.how}" for one in stack.died()]
    return {
        "killed_after_s": None if moment is None else round(moment, 3),
        "stage": stage,
        "begun_s": setter.when("begun"),
        "ended_s": setter.when("ended"),
        "steady_after_s": round(seconds, 3),
        "wrong": wrong,
        "left": different,
        "died_since": died,
        "good": not wrong and not different,
    }


def prove(stack: Stack, name: str, trials: int, before: Picture, chance: random.Random) -> dict[str, Any]:
    """The first two end by themselves, and tell how long that takes; of all, half are killed."""
    runs: list[dict[str, Any]] = []
    life = 1.0
    for number in range(trials):
        owed = trials // 2 - sum(run["stage"] != "not killed" for run in runs)
        kill = number >= 2 and owed > 0 and (number % 2 == 1 or trials - number <= owed)
        run = one_trial(stack, name, before, chance.uniform(0, life) if kill else None)
        if run["ended_s"] is not None and not kill:
            life = run["ended_s"]  # one that is killed too late is not killed, and another is instead
        runs.append(run)
        if not run["good"]:
            print(f"  {name} {number + 1}: {run}", flush=True)
        if run["left"]:
            break  # what comes after it says nothing
    good = sum(run["good"] for run in runs)
    stages = Counter(run["stage"] for run in runs)
    slowest = max(run["steady_after_s"] for run in runs)
    print(f"{name}: {good} of {trials}; {dict(stages)}; steady after {slowest:.2f} s at most", flush=True)
    return {"good": good, "trials": trials, "killed": dict(stages), "slowest_s": slowest, "runs": runs}


def measure_undone(stackfile: Path, trials: int, only: list[str]) -> dict[str, Any]:
    """What results/proofs/faults.json holds of this. held: every fault that can be had here, every time. A stack on
    which one was not undone is given up, and the next fault gets another."""
    before, chance = cpu_times(), random.Random(SEED)
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    waiting = list(only or FAULTS)
    while waiting:
        with up(stackfile, lease=True, emit=_tell, allow_reuse=False) as stack:
            if _has_prometheus(stack):
                await_targets(f"http://{stack.address('prometheus.http')}", stack.scrape())
            steady = _settled(stack)
            while waiting:
                name = waiting.pop(0)
                if why := why_not(stack, name):
                    absent[name] = why
                    print(f"{name}: not here: {why}", flush=True)
                    continue
                found[name] = prove(stack, name, trials, steady, chance)
                if any(run["left"] for run in found[name]["runs"]):
                    break
    held = bool(found) and all(one["good"] == one["trials"] for one in found.values())
    told = {"seed": SEED, "trials": trials, "hold_s": HOLD, "patience_s": PATIENCE, "not_here": absent}
    return told | {"held": held, "faults": found, "conditions": conditions(before)}


def _tell(event: Event) -> None:
    if isinstance(event, StackEvent) and event.state in ("ready", "unavailable"):
        print(f"{event.service} {event.state} {event.detail}", flush=True)


def _has_prometheus(stack: Stack) -> bool:
    return "prometheus" in stack.file.spec.services and "prometheus" not in stack.unavailable


def _settled(stack: Stack) -> Picture:
    """The picture as soon as two, a second apart, agree. Raises RuntimeError when that does not come to be."""
    last = picture(stack)
    for _ in range(20):
        time.sleep(1)
        now = picture(stack)
        if not (different := difference(last, now)):
            return now
        last = now
    raise RuntimeError(f"the stack does not settle: {different}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--stack", type=Path, default=STACK)
    parser.add_argument("--only", nargs="*", default=[], metavar="FAULT")
    options = parser.parse_args()
    found = measure_undone(options.stack, options.trials, options.only)
    write_json(options.into, {**read_json(options.into), "undone": found})
    return 0 if found["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
