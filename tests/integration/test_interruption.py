"""A run that is stopped from outside: by Ctrl-C it ends with a verdict, by SIGKILL it leaves nothing either way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.jsonio import read_json
from harness.core.paths import cache_dir
from harness.results.events import read_events
from tests.integration.helpers import write_validation
from tests.proofs.remains import Seen, observe, wait_clean

pytestmark = pytest.mark.stack

HARNESS = ["harness.cli.main", "run", "--no-reuse"]
PYTEST = ["pytest", "-p", "no:cacheprovider", "-m", "slo", "--slo-no-reuse"]


class Running:
    """A command in the middle of its load, on the reference system."""

    def __init__(self, directory: Path, module: list[str]) -> None:
        self.directory = directory
        (directory / "pytest.ini").write_text("[pytest]\naddopts = -p no:locust\n")
        validation = write_validation(directory, duration="60s")
        state = directory / "state"
        self.seen: Seen = observe(state / "slo-harness", cache_dir())
        self.process = subprocess.Popen(
            [sys.executable, "-m", *module, str(validation)],
            cwd=directory,
            env={**os.environ, "XDG_STATE_HOME": str(state)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        told = []
        for line in self.process.stdout:
            told.append(line)
            if " s left: " in line:
                break
        assert " s left: " in told[-1], "".join(told)
        self.seen.look(self.process.pid)

    @property
    def run(self) -> Path:
        return (self.directory / "results" / "latest").resolve()

    def assert_clean(self) -> None:
        seconds, left = wait_clean(self.seen)
        assert left == [], f"left after {seconds:.1f} s: {left}"


@pytest.fixture(params=[HARNESS, PYTEST], ids=["harness", "pytest"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    one = Running(tmp_path, request.param)
    yield one
    one.process.kill()
    one.process.wait()
    assert one.process.stdout is not None
    one.process.stdout.close()


def test_an_interrupted_run_has_its_verdict_and_leaves_nothing(running: Running) -> None:
    running.process.send_signal(signal.SIGINT)
    output, _ = running.process.communicate(timeout=60)
    assert running.process.returncode in (130, 2), output  # 2 is pytest's own code for an interrupt
    assert read_json(running.run / "verdict.json")["outcome"] == "interrupted"
    assert "INTERRUPTED" in output
    assert str(running.run.name) in output
    running.assert_clean()


def test_a_killed_run_leaves_what_it_had_written_and_nothing_else(running: Running) -> None:
    running.process.kill()
    running.process.wait()
    running.assert_clean()
    assert read_json(running.run / "plan.json")["name"] == "short"
    assert any(event["kind"] == "load" for event in read_events(running.run / "events"))
    assert (running.run / "load" / "load-0.jsonl").stat().st_size > 0
