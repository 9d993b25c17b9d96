"""The two faces: the pytest plugin and the `harness` command, as a user meets them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.results.rundir import RunDir
from tests.integration.helpers import harness, latest, write_validation

REDIS_ALONE = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: tiny}
spec:
  services: {redis: {use: redis}}
  target: redis.resp
"""


def run_pytest(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest with the plugin, in a project of its own."""
    (directory / "pytest.ini").write_text("[pytest]\naddopts = -p no:locust -p no:cacheprovider\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=directory,
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_validation_that_cannot_be_read_is_a_failed_test_that_shows_where(tmp_path: Path) -> None:
    path = write_validation(tmp_path)
    path.write_text(path.read_text().replace("rate: 40", "rate: much"))
    done = run_pytest(tmp_path, "-m", "slo")
    assert done.returncode == 1, done.stdout
    assert "short.yaml:7:49: bad-value" in done.stdout
    assert "^^^^" in done.stdout
    assert latest(tmp_path)["outcome"] == "usage"


def test_validations_run_when_asked_for_and_not_otherwise(tmp_path: Path) -> None:
    write_validation(tmp_path)
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 deselected" in done.stdout
    listed = run_pytest(tmp_path, "--collect-only", "-q", "-m", "slo")
    assert "short.yaml::short" in listed.stdout
    assert "test_other.py::" not in listed.stdout


def test_what_was_not_validated_fails_unless_it_is_allowed_by_name(tmp_path: Path) -> None:
    write_validation(tmp_path)
    refused = run_pytest(tmp_path, "-m", "slo", "--slo-runtime", "external")
    assert refused.returncode == 1, refused.stdout
    assert "not-validated" in refused.stdout
    other = run_pytest(tmp_path, "-m", "slo", "--slo-runtime", "external", "--slo-allow-unvalidated", "other")
    assert other.returncode == 1
    allowed = run_pytest(tmp_path, "-m", "slo", "--slo-runtime", "external", "--slo-allow-unvalidated", "short")
    assert allowed.returncode == 0, allowed.stdout
    verdict = latest(tmp_path)
    assert (verdict["outcome"], verdict["allowed_unvalidated"]) == ("not-validated", True)


def test_the_verdict_of_a_changed_run_is_refused(tmp_path: Path) -> None:
    path = write_validation(tmp_path)
    path.write_text(path.read_text().replace("rate: 40", "rate: much"))
    harness("run", str(path), cwd=tmp_path)
    assert harness("verdict", cwd=tmp_path).returncode == 2  # made again, the same: usage
    run = RunDir((tmp_path / "results" / "latest").resolve())
    run.write("verdict.json", {**run.read("verdict.json"), "outcome": "pass"})
    done = harness("verdict", cwd=tmp_path)
    assert done.returncode == 4
    assert "verdict-differs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        (["run", "nowhere.yaml"], "file-unreadable"),
        (["run", "short.yaml", "--set", "nonsense"], "bad-setting"),
        (["run", "short.yaml", "--profile", "weekly"], "bad-option"),
        (["run", "short.yaml", "--abort-on-breach", "--abort-grace", "soon"], "bad-option"),
        (["verdict", "nowhere"], "not-a-run"),
        (["stack", "up", "nowhere.yaml"], "file-unreadable"),
        (["stack", "down", "nobody"], "stack-unknown"),
    ],
)
def test_words_that_make_no_sense_are_usage_errors_with_a_remedy(
    tmp_path: Path, arguments: list[str], slug: str
) -> None:
    write_validation(tmp_path)
    done = harness(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert slug in done.stderr
    assert "remedy: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.stack
def test_a_stack_stays_up_between_commands_until_it_is_taken_down(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(REDIS_ALONE)
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    up = harness("stack", "up", cwd=tmp_path, env=env)
    try:
        assert up.returncode == 0, up.stderr
        assert "redis" in up.stdout
        again = harness("stack", "up", cwd=tmp_path, env=env)
        assert "already" in again.stdout or again.stdout.split("stack ")[1][:8] in up.stdout
        status = harness("stack", "status", cwd=tmp_path, env=env)
        assert "healthy" in status.stdout
    finally:
        down = harness("stack", "down", cwd=tmp_path, env=env)
    assert down.returncode == 0, down.stderr
    assert list((tmp_path / "state").rglob("redis")) == []
    assert harness("stack", "status", cwd=tmp_path, env=env).returncode == 3
