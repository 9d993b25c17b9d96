"""Every scenario also runs under plain `locust -f`, from any directory, against the system that runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.stack.runtime import Stack
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
    command += ["--host", f"http://{reference_stack.address('app.http')}", "-u", "2", "-r", "2", "-t", "2s"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **artefacts}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told = {one["name"]: one for one in json.loads(done.stdout)}
    assert told.keys() == SCENARIOS[name]
    assert all(one["num_requests"] > 0 and one["num_failures"] == 0 for one in told.values()), told
