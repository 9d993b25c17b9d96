"""Every scenario also runs under plain `locust -f`, from any directory, against the system that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from harness.faults.waiting import wait_for
from harness.stack.runtime import Stack
from harness.telemetry.counters import read_counters
from tests.integration.helpers import ROOT

pytestmark = pytest.mark.stack
SCENARIOS = {"vector_search": {"search"}, "inference": {"predict", "feedback"}, "features": {"features"},
             "rag": {"search", "predict"}}  # fmt: skip


def test_each_file_of_scenarios_that_has_users_is_among_them() -> None:
    files = {path.stem for path in (ROOT / "scenarios").glob("*.py") if "(SloUser)" in path.read_text()}
    assert files == SCENARIOS.keys()
    assert {path.stem for path in (ROOT / "slos").glob("*.yaml") if "openslo" not in path.name} == SCENARIOS.keys()


@pytest.mark.parametrize("name", SCENARIOS)
def test_plain_locust_runs_it_without_a_failure(reference_stack: Stack, tmp_path: Path, name: str) -> None:
    artefacts = {
        f"SLO_ARTEFACT_{one.upper()}": str(reference_stack.artefact(one)) for one in reference_stack.file.spec.artefacts
    }
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / f"scenarios/{name}.py"), "--headless", "--json"]
    command += ["--host", f"http://{reference_stack.address('app.http')}", "-u", "2", "-r", "2", "-t", "60s"]
    before = served(reference_stack, name)
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **artefacts}, stdout=PIPE, stderr=PIPE, text=True
    ) as locust:
        # each kind of request a few times, however long this machine takes for it
        done = wait_for(
            lambda: (
                locust.poll() is not None
                or all(now >= then + 5 for now, then in zip(served(reference_stack, name), before, strict=True))
            ),
            50,
        )
        locust.send_signal(signal.SIGINT)
        out, err = locust.communicate(timeout=60)
    assert done and locust.returncode == 0, err
    told = {one["name"]: one for one in json.loads(out)}
    assert told.keys() == SCENARIOS[name]
    assert all(one["num_requests"] > 0 and one["num_failures"] == 0 for one in told.values()), told


def served(stack: Stack, name: str) -> list[float]:
    """What the app has counted of each kind of request that a scenario makes."""
    series = [stack.file.spec.counters[one].series for one in sorted(SCENARIOS[name])]
    read = read_counters(stack.metrics_url("app"), series)
    return [read[one] for one in series]
