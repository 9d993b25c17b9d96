"""Milvus searches that a second of client CPU makes: our user of Milvus, against pymilvus as VectorDBBench drives it.

    python -m tests.proofs.load_milvus --trials 5 --into results/proofs/load.json      this part alone

Both ask the reference system's Milvus the same questions with the same effort, 16 at a time, decode each reply and
score its recall; ours records every sample besides. Rounds of both follow each other; ratios are taken within rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from harness.core.errors import HarnessError
from harness.gate.environment import scenario_environment
from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import load_samples
from harness.stack.runtime import Stack, up
from tests.proofs.load_http import cpu_of
from tests.proofs.load_peers import supply
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.part import measure_part

ROOT = Path(__file__).parents[2]
AT_A_TIME, SECONDS, NPROBE = 16, 8, 96
LEAST = 1000  # searches of each side in a round
MUST, AIM = 4.0, 8.0
SECOND = 1_000_000_000


def ours(stack: Stack) -> dict[str, float]:
    """Warm-up is left out: CPU and searches are counted between two ticks."""
    env = scenario_environment(stack) | {"SLO_SEARCH_EFFORT": str(NPROBE)}
    plan = LoadPlan(
        str(ROOT / "scenarios" / "milvus_search.py"), 0.0, SECOND, SECONDS * SECOND,
        f"http://{stack.address('milvus.grpc')}",
        executor="constant-users", users=AT_A_TIME, env=env,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        engine = LoadEngine(plan, run := RunDir.create(Path(directory), "proof"))
        try:
            engine.prepare()
            engine.start()
            ends: list[tuple[int, float]] = []
            for tick in engine.ticks():
                if 1.5 < tick.elapsed < SECONDS:
                    ends.append((tick.done, cpu_of(engine.pids[0])))
        finally:
            engine.stop()
        samples = load_samples(run.load)
    (count, cpu), (last, spent) = ends[0], ends[-1]
    recall = samples.select("recall", {})
    mean = recall.histogram.sum / recall.count / recall.scale
    return {"searches": last - count, "cpu": spent - cpu, "recall": mean, "errors": samples.select("errors", {}).true}


def theirs(stack: Stack) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.proofs.load_peers.pymilvus_search", stack.address("milvus.grpc")]
    env = os.environ | scenario_environment(stack) | {"PYTHONWARNINGS": "ignore"}
    command += [str(AT_A_TIME), str(SECONDS), str(NPROBE)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise supply.NotHere(f"pymilvus ended with {done.returncode}: {' | '.join(done.stderr.splitlines()[-3:])}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure_milvus(rounds: int) -> dict[str, Any]:
    """What results/proofs/load.json holds of this; not measured where there is no Milvus."""
    before = cpu_times()
    row: dict[str, Any] = {"measure": "Milvus searches a CPU second", "must": MUST, "aim": AIM}
    each: list[dict[str, Any]] = []
    try:
        stack = up(ROOT / "stack.yaml", lease=True, emit=lambda event: None)
    except HarnessError as error:
        row |= {"held": None, "not_measured": f"no stack: {error.cause}"}
        return {"rows": [row], "held": None, "conditions": conditions(before)}
    try:
        if "milvus" in stack.unavailable:
            row |= {"held": None, "not_measured": "this machine cannot run Milvus"}
            return {"rows": [row], "held": None, "conditions": conditions(before)}
        for number in range(rounds):
            each.append({"ours": ours(stack), "theirs": theirs(stack)})
            print(f"milvus round {number + 1}/{rounds} {each[-1]}", flush=True)
    except supply.NotHere as reason:
        row |= {"held": None, "not_measured": str(reason)}
        return {"rows": [row], "rounds": each, "held": None, "conditions": conditions(before)}
    finally:
        stack.close()
    if few := [one for one in each if min(one[side]["searches"] for side in ("ours", "theirs")) < LEAST]:
        row |= {"held": None, "not_measured": f"{len(few)} of {rounds} rounds had fewer than {LEAST} searches"}
        return {"rows": [row], "rounds": each, "held": None, "conditions": conditions(before)}
    rates = {side: [one[side]["searches"] / one[side]["cpu"] for one in each] for side in ("ours", "theirs")}
    ratios = [own / other for own, other in zip(rates["ours"], rates["theirs"], strict=True)]
    same = all(
        abs(one["ours"]["recall"] - one["theirs"]["recall"]) < 0.02 and not one["ours"]["errors"] for one in each
    )
    row |= {"ours": median(rates["ours"]), "theirs": median(rates["theirs"]), "ratio": round(median(ratios), 3),
            "same_answers": same, "held": same and median(ratios) >= MUST}  # fmt: skip
    return {"rows": [row], "rounds": each, "held": row["held"], "conditions": conditions(before)}


if __name__ == "__main__":
    sys.exit(measure_part("milvus", measure_milvus))
