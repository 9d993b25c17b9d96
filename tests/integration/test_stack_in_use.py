"""A stack that is used again: what makes it another, whose deaths count, how long it may be silent, what it lacks."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.core.clock import mono_ns, wall_ns
from harness.core.outcome import Outcome
from harness.gate.collect import Collector
from harness.gate.run import plan, run
from harness.gate.session import Session
from harness.model.stackfile import load_stackfile
from harness.results.rundir import RunDir
from harness.stack import handle, runtime
from harness.stack.availability import Unavailable
from harness.stack.handle import Stack
from tests.integration.helpers import write_validation
from tests.integration.test_stack_local import HEAD, TINY, start, until

pytestmark = pytest.mark.stack

WATCHED = f"""\
{HEAD}  services:
    prometheus: {{use: prometheus, config: prometheus.yml}}
  target: prometheus.http
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with start(tmp_path, TINY) as stack:
        yield stack


def test_rule_files_and_programs_make_another_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, rules = tmp_path / "bin" / "prometheus", tmp_path / "some.rules.yml"
    program.parent.mkdir()
    shutil.copy("/bin/true", program)
    monkeypatch.setenv("SLO_HARNESS_TOOL_PROMETHEUS", str(program))
    (tmp_path / "prometheus.yml").write_text("rule_files: ['*.rules.yml']\nscrape_configs: []\n")
    rules.write_text("groups: []\n")
    path = tmp_path / "stack.yaml"
    path.write_text(WATCHED)
    file, _ = load_stackfile(path)

    def identity() -> str:
        return runtime._hash(path, file, {}, {}, {}, "python")

    first = identity()
    assert identity() == first
    rules.write_text("groups: [{name: a, rules: []}]\n")
    with_rules = identity()
    assert with_rules != first
    os.utime(program, ns=(1, 1))  # another build under the same name
    assert identity() not in (first, with_rules)


def test_a_death_just_before_a_run_is_not_this_runs(stack: Stack, tmp_path: Path) -> None:
    stack.signal("redis", signal.SIGKILL)
    until(stack.died)
    directory = RunDir.create(tmp_path / "results", "after")
    collector = Collector(stack, directory, mono_ns(), wall_ns())
    collector.always()
    assert directory.read("evidence/stack.json")["died"] == []
    stack.signal("web", signal.SIGKILL)
    until(lambda: len(stack.died()) == 2)
    collector.always()
    assert [one["service"] for one in directory.read("evidence/stack.json")["died"]] == ["web"]


def test_a_service_that_is_silent_for_a_moment_is_healthy_and_one_that_stays_silent_is_not(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = handle.probe_of
    answers: list[object] = []

    def counted(*args: Any) -> Any:
        probe = real(*args)

        def ask() -> object:
            answers.append(answer := probe() if probe is not None else None)
            if answer is None:
                silent.set()
            return answer

        return ask if args[1] == "web" else probe

    silent = threading.Event()
    monkeypatch.setattr(handle, "probe_of", counted)
    pid = next(one.pid for one in stack.services() if one.name == "web")
    stack.signal("web", signal.SIGSTOP)
    waker = threading.Thread(target=lambda: silent.wait(30) and stack_continues(pid))
    waker.start()
    assert stack.healthy()
    waker.join()
    assert answers[0] is None and answers[-1] is not None
    stack.signal("web", signal.SIGSTOP)
    assert not stack.healthy()
    stack_continues(pid)


def stack_continues(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGCONT)


def test_needs_are_checked_against_the_stack_that_is_in_use(stack: Stack, tmp_path: Path) -> None:
    """Redis can be had by now, but this stack was brought up without it."""
    scenario = tmp_path / "scenario.py"
    scenario.write_text("")
    path = write_validation(tmp_path, stack=tmp_path / "stack.yaml", scenario=scenario, needs="[redis]")
    (planned,) = plan(path)
    stack.unavailable = {"redis": Unavailable("missing-binary", "no redis-server then", "bring the stack up again")}
    session = Session(tmp_path / "results")
    session._stacks[planned.validation.stack_path] = stack
    verdict = run(planned, session).verdict
    assert verdict.outcome is Outcome.NOT_VALIDATED
    assert any("no redis-server then" in one.reason for one in verdict.findings)
