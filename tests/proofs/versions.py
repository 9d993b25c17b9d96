"""Our configuration, our rules and a whole run on the current Prometheus and Alertmanager (`make prove-versions`)."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.core.jsonio import read_json, write_json
from harness.model.source import load_documents
from harness.stack.services import alertmanager
from harness.stack.services.prometheus import configured
from harness.stack.services.rendering import dump_yaml
from harness.stack.tools import Tool
from tests.prometheus_settings import run_tool, settings_told_and_known
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.newest import Newest, build

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
SCALE = 15.0  # stack.yaml's
# The checks of `make test` that ask Prometheus, promtool or Alertmanager, and nothing that is slow for another reason.
TESTS = (
    "tests/integration/test_slo_rules.py",
    "tests/integration/test_slo_budget.py",
    "tests/integration/test_metrics.py",
    "tests/integration/test_stack_watchers.py",
)
# It is about Debian's package, and skips for any other Alertmanager.
APART = "tests/integration/test_stack_watchers.py::test_an_alertmanager_from_a_package_runs_in_every_isolation"


def accepted(tool: Path, *arguments: str, cwd: Path) -> dict[str, Any]:
    """Whether a checker takes a file, and what it says where it does not."""
    done = run_tool(Tool(tool.name, tool), *arguments, cwd=cwd)
    said = (done.stdout + done.stderr).strip()
    return {"held": done.returncode == 0, **({} if done.returncode == 0 else {"said": said[-2000:]})}


def configurations(newest: Newest, directory: Path) -> dict[str, Any]:
    """Production's files and a stack's copies of them, before promtool and amtool."""
    promtool, amtool = newest.directory / "promtool", newest.directory / "amtool"
    production = MONITORING / "prometheus/prometheus.yml"
    (document, *_) = load_documents(production)
    scrape = {job["job_name"]: "127.0.0.1:1" for job in document.data["scrape_configs"]}
    copy = directory / "prometheus.yml"
    dump_yaml(copy, configured(production, scrape, "127.0.0.1:2", SCALE, "proof"))
    found = {
        "prometheus.yml in production": accepted(promtool, "check", "config", str(production), cwd=directory),
        "prometheus.yml of a stack": accepted(promtool, "check", "config", str(copy), cwd=directory),
    }
    production = MONITORING / "alertmanager/alertmanager.yml"
    (document, *_) = load_documents(production)
    copy = directory / "alertmanager.yml"
    dump_yaml(copy, alertmanager.rendered(document.data, "127.0.0.1:3", SCALE))
    return found | {
        "alertmanager.yml in production": accepted(amtool, "check-config", str(production), cwd=directory),
        "alertmanager.yml of a stack": accepted(amtool, "check-config", str(copy), cwd=directory),
    }


def rules(newest: Newest, directory: Path) -> dict[str, Any]:
    """The burn-rate rules of slos/, as `harness slo rules` writes them."""
    files = [str(path) for path in sorted((ROOT / "slos").glob("*.openslo.yaml"))]
    written = directory / "slo.rules.yml"
    command = [sys.executable, "-m", "harness.cli.main", "slo", "rules", *files, "-o", str(written)]
    subprocess.run(command, check=True, capture_output=True)
    return accepted(newest.directory / "promtool", "check", "rules", "--lint=all", str(written), cwd=directory)


def table(newest: Newest, directory: Path) -> dict[str, Any]:
    """What monitoring/schema/versions.yaml says of this version's settings, against its promtool."""
    found = settings_told_and_known(Tool("promtool", newest.directory / "promtool"), directory)
    wrong = sorted(name for name, (told, known) in found.items() if told != known)
    return {"held": bool(found) and not wrong, "settings": len(found), "wrong": wrong}


def tested(environment: Mapping[str, str], directory: Path) -> dict[str, Any]:
    """The tests of `TESTS` with these programs: by file, how many passed and which did not."""
    report = directory / "junit.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junit-xml={report}",
        f"--deselect={APART}",
    ]
    command += TESTS
    with (directory / "pytest.log").open("w") as log:
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)
    print((directory / "pytest.log").read_text()[-3000:], flush=True)
    found: dict[str, Any] = {name: {"passed": 0, "not passed": []} for name in TESTS}
    for case in ElementTree.parse(report).iter("testcase"):
        of_file = found[(case.get("classname") or "").replace(".", "/") + ".py"]
        if len(case) and any(part.tag in ("failure", "error", "skipped") for part in case):
            of_file["not passed"].append(case.get("name"))
        else:
            of_file["passed"] += 1
    for one in found.values():
        one["held"] = one["passed"] > 0 and not one["not passed"]
    return found


def run(environment: Mapping[str, str], newest: Newest, directory: Path) -> dict[str, Any]:
    """One validation of vector search on a stack with these servers, which has to pass."""
    results = directory / "results"
    command = [sys.executable, "-m", "harness.cli.main", "run", "slos/vector_search.yaml", "--results", str(results)]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--no-reuse"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    print(done.stdout[-3000:] + done.stderr[-2000:], flush=True)
    (one,) = (path.parent for path in results.glob("*/verdict.json") if not path.parent.is_symlink())
    verdict = read_json(one / "verdict.json")
    reported = {name: told["version"] for name, told in read_json(one / "run.json")["stack"]["services"].items()}
    ran_on_them = all(reported[name] == version for name, version in newest.versions.items())
    return {
        "held": ran_on_them and verdict["outcome"] == "pass",
        "outcome": verdict["outcome"],
        "findings": {one["id"]: one["outcome"] for one in verdict["findings"]},
        "versions": reported,
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", help="this part alone, beside what the file has of the others")
    options = parser.parse_args()
    newest = build()
    environment = {**os.environ, **newest.overrides(), "SLO_HARNESS_RUNTIME": "local"}
    versions = {"go": newest.go, **newest.versions}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "configuration": lambda: configurations(newest, directory),
            "rules": lambda: {"slos": rules(newest, directory)},
            "table": lambda: {"prometheus settings": table(newest, directory)},
            "tests": lambda: tested(environment, directory),
            "run": lambda: {"vector_search": run(environment, newest, directory)},
        }
        told: dict[str, Any] = read_json(options.out) if options.only and options.out.exists() else {}
        found: dict[str, Any] = told.get("parts", {}) if told.get("versions") == versions else {}
        for part in options.only or parts:
            before = cpu_times()
            found[part] = parts[part]() | {"conditions": conditions(before)}
            held = found.keys() == parts.keys() and all(_held(one) for one in found.values())
            write_json(options.out, {"held": held, "versions": versions, "parts": found})
            print(f"{part}: {'held' if _held(found[part]) else found[part]}", flush=True)
    return 0 if held else 1


def _held(part: Mapping[str, Any]) -> bool:
    return all(one["held"] for name, one in part.items() if name != "conditions")


if __name__ == "__main__":
    sys.exit(main())
