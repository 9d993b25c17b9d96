"""Short validations and the command line, as the tests of whole runs use them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.core.jsonio import read_json
from harness.core.outcome import Outcome
from harness.gate.run import RunResult, plan, run
from harness.gate.session import Session
from harness.model.finding import Finding
from harness.stack.runtime import Stack

ROOT = Path(__file__).parent.parent.parent
# What a run is told of a machine that had other work, or of a server that was still warming up. Whoever asks whether
# the system behaved can not ask for quiet too; that these are found at all is asserted where they are provoked.
DISTURBED = frozenset({"not-stationary", "generator-saturated", "machine-stolen", "machine-stalled"})

SHORT = """\
apiVersion: harness/v1
kind: Validation
metadata: {{name: {name}}}
spec:
  stack: {stack}
  scenario: {scenario}
  load: {{executor: constant-arrival-rate, rate: 40, warmup: 1s, duration: {duration}, maxLateness: 500ms}}
  thresholds: {thresholds}
  objectives: {objectives}
{more}"""


def write_validation(
    directory: Path,
    *,
    name: str = "short",
    stack: Path = ROOT / "stack.yaml",
    scenario: Path = ROOT / "scenarios/vector_search.py",
    thresholds: str = '{"errors{name:search}": ["rate<3%"]}',
    objectives: str = "[]",
    duration: str = "4s",
    needs: str = "",
    faults: str = "",
) -> Path:
    """A validation of a few seconds in `directory`, with a bound that its 160 requests can decide. needs: by default
    all that the target works with; faults: a list, as YAML in one line."""
    path = directory / f"{name}.yaml"
    path.write_text(
        SHORT.format(
            name=name,
            stack=stack,
            scenario=scenario,
            thresholds=thresholds,
            objectives=objectives,
            duration=duration,
            more="".join(f"  {name}: {one}\n" for name, one in (("needs", needs), ("faults", faults)) if one),
        )
    )
    return path


def run_one(path: Path, session: Session) -> RunResult:
    """Plan and run the only validation of a file."""
    (planned,) = plan(path)
    return run(planned, session)


def finding(done: RunResult, start: str) -> Finding:
    """The one finding whose id begins with `start`."""
    (found,) = [one for one in done.verdict.findings if one.id.startswith(start)]
    return found


def unexpected(done: RunResult) -> list[str]:
    """What did not pass, one line each, but for what the machine's own noise may do to a run."""
    return [
        f"{one.id}: {one.outcome}: {one.reason}"
        for one in done.verdict.findings
        if one.outcome is not Outcome.PASS and one.slug not in DISTURBED
    ]


def version_of(stack: Stack, service: str) -> str:
    """The version that a server itself reported when it was ready."""
    (one,) = (status for status in stack.services() if status.name == service)
    return one.version


def harness(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the `harness` command; bounded, output captured."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli.main", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def latest(directory: Path) -> dict[str, Any]:
    """The verdict of the newest run under `directory`/results; also proves that the run directory is readable."""
    run_directory = (directory / "results" / "latest").resolve()
    assert any((run_directory / "events").glob("*.jsonl"))
    verdict: dict[str, Any] = read_json(run_directory / "verdict.json")
    return verdict
