"""Whether a promtool knows a setting of a scrape job: monitoring/schema/versions.yaml is held against what it says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.model.versions import parse_version, prometheus_of
from harness.stack.services.prometheus_settings import printed_version
from harness.stack.services.recipe import Tool

_VALUES = {  # one that is valid; `true` for all others
    "keep_dropped_targets": "3",
    "scrape_protocols": "[PrometheusText0.0.4]",
    "scrape_failure_log_file": "failures.log",
    "fallback_scrape_protocol": "PrometheusText0.0.4",
    "metric_name_validation_scheme": "legacy",
}


def run_tool(tool: Tool, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end, its output captured."""
    return subprocess.run(
        [tool.path, *arguments],
        cwd=cwd,
        env={**os.environ, **tool.env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def settings_told_and_known(promtool: Tool, directory: Path) -> dict[str, tuple[bool, bool]]:
    """By setting of the table: whether the table says that this version knows it, and whether it does.

    Raises AssertionError where promtool refuses the file for any other reason.
    """
    version = printed_version(promtool)
    found: dict[str, tuple[bool, bool]] = {}
    for name, setting in prometheus_of(version).scrape.items():
        job = f"scrape_configs:\n  - job_name: one\n    {name}: {_VALUES.get(name, 'true')}\n"
        (directory / "settings.yml").write_text(job)
        done = run_tool(promtool, "check", "config", "settings.yml", cwd=directory)
        said = done.stdout + done.stderr
        assert done.returncode == 0 or f"field {name} not found" in said, said
        found[name] = (setting.known_to(parse_version(version)), done.returncode == 0)
    return found
