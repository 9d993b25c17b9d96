"""The Docker runtime's promises in numbers (`make prove-docker`): kills leave nothing, it is up soon and down soon.

To be run inside an engine of its own: python -m tests.docker.engine -- python -m tests.proofs.docker --out FILE.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.core.jsonio import write_json
from harness.model.events import Event, StackEvent
from harness.stack.bringup import needs_of
from harness.stack.docker.engine import Engine
from harness.stack.docker.stack import DockerStack
from harness.stack.runtime import up
from tests.docker.killing import clean_after, running, things, write
from tests.proofs.machine import conditions, cpu_times

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
CLEAN_S = 15.0  # after a kill
OVERHEAD_S = 3.0  # of a start, beside what the services take themselves
TEARDOWN_S = 10.0
STORES = f"""\
apiVersion: harness/v1
kind: Stack
metadata: {{name: stores-and-watchers}}
spec:
  timeScale: 15
  services:
    postgres: {{use: postgres}}
    redis: {{use: redis}}
    milvus: {{use: milvus}}
    postgres-exporter: {{use: postgres-exporter, config: {ROOT}/monitoring/postgres-exporter/queries.yml}}
    redis-exporter: {{use: redis-exporter}}
    prometheus: {{use: prometheus}}
    alertmanager: {{use: alertmanager, config: {ROOT}/monitoring/alertmanager/alertmanager.yml}}
    loki: {{use: loki, config: {ROOT}/monitoring/loki/loki.yaml}}
    notifications: {{use: webhook-sink}}
  scrape: {{prometheus: prometheus.http, milvus: milvus.metrics, loki: loki.http}}
  target: redis.resp
"""
_LOOK_S = 120.0  # how long to look for what a kill left, to be able to say how long it took


def kills(
    engine: Engine, scratch: Path, number: int, seed: int, keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Kill a pytest `number` times, at random moments from its first thing on the engine until its load has been under
    way for a while. What there is so far goes to `keep` after each."""
    chance, done = random.Random(seed), []
    life = _life(engine, scratch / "life")
    for at, signum in zip(range(number), itertools.cycle(SIGNALS), strict=False):
        done.append(_one_kill(engine, scratch / f"kill-{at}", signum, chance.uniform(0, 1.2) * life))
        print(f"{at + 1}/{number}: {done[-1]}", flush=True)
        keep(_told(done, life))
    return _told(done, life)


def _told(done: list[dict[str, Any]], life: float) -> dict[str, Any]:
    return {
        "kills": len(done),
        "limit_s": CLEAN_S,
        "clean": sum(one["clean_after_s"] is not None and one["clean_after_s"] <= CLEAN_S for one in done),
        "with_things_to_leave": sum(one["things"] > 0 for one in done),
        "slowest_s": max((one["clean_after_s"] or _LOOK_S for one in done), default=None),
        "until_load_s": round(life, 1),
        "runs": done,
    }


def _life(engine: Engine, directory: Path) -> float:
    """Seconds from the first thing on the engine until the load is under way."""
    with running(write(directory)) as run:
        run.wait_for(lambda: bool(things(engine)))
        began = time.monotonic()
        run.wait_for(run.said("steady"))
        seconds = time.monotonic() - began
    clean_after(engine, time.monotonic(), _LOOK_S)
    return seconds


def _one_kill(engine: Engine, directory: Path, signum: signal.Signals, moment: float) -> dict[str, Any]:
    with running(write(directory, "300s")) as run:
        run.wait_for(lambda: bool(things(engine)))
        time.sleep(moment)
        there = len(things(engine))
        since = run.kill(signum)
        told: dict[str, Any] = {"signal": signum.name, "moment_s": round(moment, 2), "things": there}
        try:
            return {**told, "clean_after_s": round(clean_after(engine, since, _LOOK_S), 2), "left": []}
        except AssertionError as error:
            return {**told, "clean_after_s": None, "left": list(error.args[0])}


def starts(number: int, stackfile: Path) -> dict[str, Any]:
    """Bring a stack up and take it down, and see what of the time was not the services' own."""
    done = []
    for _ in range(number):
        began_at: dict[str, float] = {}

        def emit(event: Event, began_at: dict[str, float] = began_at) -> None:
            if isinstance(event, StackEvent) and event.state == "starting":
                began_at[event.service] = time.time()

        began, began_wall = time.monotonic(), time.time()
        stack = up(stackfile, lease=True, emit=emit, allow_reuse=False, runtime="docker")
        seconds = time.monotonic() - began
        assert isinstance(stack, DockerStack)
        own, chain = _own(stack, began_at, began_wall)
        began = time.monotonic()
        stack.close()
        done.append(
            {
                "healthy_s": round(seconds, 2),
                "own_s": round(own, 2),
                "overhead_s": round(seconds - own, 2),
                "chain": chain,
                "teardown_s": round(time.monotonic() - began, 2),
                "load_average": round(os.getloadavg()[0], 1),
            }
        )
        print(done[-1], flush=True)
    return {
        "runs": done,
        "limit_overhead_s": OVERHEAD_S,
        "limit_teardown_s": TEARDOWN_S,
        "overhead_s": statistics.median(one["overhead_s"] for one in done),
        "teardown_s": max(one["teardown_s"] for one in done),
    }


def _own(stack: DockerStack, began_at: dict[str, float], began_wall: float) -> tuple[float, list[str]]:
    """Of the chain of services that was ready last: seconds that they took by themselves, and who they are. A
    container's begin when the engine has started its process, a process's when it is started."""
    ready = {name: began_wall + one["seconds"] for name, one in stack._info["ready"].items()}
    name, own, chain = max(ready, key=lambda one: ready[one]), 0.0, list[str]()
    while True:
        own += ready[name] - _started(stack, name, began_at)
        chain.insert(0, name)
        needs = needs_of(stack._layout, name) if name in stack._layout.services else frozenset()
        if not needs & ready.keys():
            return own, chain
        name = max(needs & ready.keys(), key=lambda one: ready[one])


def _started(stack: DockerStack, name: str, began_at: dict[str, float]) -> float:
    container = stack.container(name) if name in stack.file.spec.services else None
    if container is None:
        return began_at[name]
    told = stack.engine.container(container)
    assert told is not None
    whole, _, fraction = str(told["State"]["StartedAt"]).removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def main() -> int:
    """Writes the numbers; 0 when all promises are kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    engine, before = Engine.find(), cpu_times()
    assert things(engine) == [], "the engine is to be empty"
    result: dict[str, Any] = {"seed": options.seed, "engine": engine.version}
    kept: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as scratch:
        if options.kills:
            killed = result["kills"] = kills(
                engine,
                Path(scratch),
                options.kills,
                options.seed,
                lambda so_far: write_json(options.out, {**result, "kills": so_far, "conditions": conditions(before)}),
            )
            kept["kills"] = killed["clean"] == options.kills
        if options.starts:
            (stackfile := Path(scratch) / "stack.yaml").write_text(STORES)
            began = result["starts"] = starts(options.starts, stackfile)
            kept["overhead"] = began["overhead_s"] <= OVERHEAD_S
            kept["teardown"] = began["teardown_s"] <= TEARDOWN_S
            write_json(options.out, {**result, "conditions": conditions(before)})
    print(", ".join(f"{what}: {'kept' if is_kept else 'NOT KEPT'}" for what, is_kept in kept.items()))
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
