"""The validations of slos/ find the same on containers as on processes, finding by finding.

A difference between the runtimes shows each time; what this machine did meanwhile does not. So what differs is run
again on both, and only what differs every time is one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.core.jsonio import read_json
from harness.model.source import load_documents
from tests.integration.helpers import ROOT

ROUNDS = 3
RUNTIMES = ("local", "docker")
Outcomes = dict[tuple[str, str], str]  # (validation, finding) -> what it came to


def outcomes(runtime: str, files: list[str], results: Path) -> Outcomes:
    """The findings of these validations, on one stack of this runtime."""
    options = ["--slo-runtime", runtime, "--slo-results", str(results), "--slo-no-reuse"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slo", *options, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    verdicts = [read_json(path) for path in results.glob("*/verdict.json") if not path.parent.is_symlink()]
    assert len(verdicts) == len(files), done.stdout + done.stderr
    assert {verdict["runtime"] for verdict in verdicts} == {runtime}
    return {(verdict["name"], one["id"]): one["outcome"] for verdict in verdicts for one in verdict["findings"]}


def differing(found: dict[str, Outcomes]) -> dict[tuple[str, str], dict[str, str]]:
    """Finding -> what each runtime made of it, where they do not agree; `absent` where it has none."""
    known = set().union(*found.values())
    told = {one: {runtime: found[runtime].get(one, "absent") for runtime in RUNTIMES} for one in known}
    return {one: by_runtime for one, by_runtime in told.items() if len(set(by_runtime.values())) > 1}


def test_both_runtimes_come_to_the_same_findings(tmp_path: Path) -> None:
    files = [str(path) for path in sorted((ROOT / "slos").glob("*.yaml")) if ".openslo." not in path.name]
    names = {read_name(Path(path)): path for path in files}
    seen: list[Any] = []
    for at in range(ROUNDS):
        found = {runtime: outcomes(runtime, files, tmp_path / f"{at}-{runtime}") for runtime in RUNTIMES}
        assert all(len(one) > 3 * len(files) for one in found.values())
        differences = differing(found)
        seen.append(differences)
        if not set.intersection(*map(set, seen)):
            return
        files = sorted({names[validation] for validation, _ in differences})
    raise AssertionError(f"they differ every time: {seen}")


def read_name(path: Path) -> str:
    """What a validation's file calls it."""
    return str(load_documents(path)[0].data["metadata"]["name"])
