"""The `load:` of each executor: what it takes, what it comes to, and where a mistake is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import UsageError
from harness.core.jsonio import canonical
from harness.gate import run as run_module
from harness.gate.schema import validation_schema
from harness.model.load_spec import plan_of
from harness.model.validation import Validation, load_validations
from harness.results.rundir import RunDir
from tests.unit.test_json_schema import fits, read

SECOND = 1_000_000_000
FILE = """\
apiVersion: harness/v1
kind: Validation
metadata: {name: probe}
spec:
  scenario: probe.py
  load:
    LOAD
  thresholds:
    latency{name:search}: ["p(99)<80ms"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "stack.yaml").write_text("")
    (tmp_path / "probe.py").write_text("")
    (tmp_path / "times.txt").write_text("0.5\n6\n6.5\n9.25\n")
    return tmp_path


def write(project: Path, load: str, more: str = "") -> Path:
    path = project / "v.yaml"
    path.write_text(FILE.replace("LOAD", load.replace("\n", "\n    ")) + more)
    return path


def validation(project: Path, load: str, more: str = "", profile: str = "pr") -> Validation:
    (found,) = load_validations(write(project, load, more), profile)
    return found


def refused(project: Path, load: str, more: str = "", profile: str = "pr") -> UsageError:
    with pytest.raises(UsageError) as caught:
        validation(project, load, more, profile)
    assert caught.value.location is not None and caught.value.remedy
    return caught.value


STAGES = "stages: [{target: 100, duration: 10s}, {target: 100, duration: 20s}, {target: 0, duration: 0s}]"
GOOD = {
    "constant-arrival-rate": ("rate: 60/s\nduration: 10s\nqueue: 7\nusers: 9", (900, 600)),
    "poisson": ("rate: 60\nduration: 10s\nseed: 7", None),
    "ramping-arrival-rate": (f"startRate: 0\n{STAGES}\nwarmup: 10s", (2500, 2000)),
    "replay": ("file: times.txt", (4, 3)),
    "constant-users": ("users: 5\nduration: 10s", (0, 0)),
    "ramping-users": (f"startUsers: 3\n{STAGES}\nwarmup: 10s", (0, 0)),
}


@pytest.mark.parametrize("executor", GOOD)
def test_each_executor_is_read_and_planned(project: Path, executor: str) -> None:
    text, arrivals = GOOD[executor]
    found = validation(project, f"executor: {executor}\n{text}")
    made = found.load.plan(scenario="x.py", host="http://127.0.0.1:1")
    assert (made.executor, made.host, made.warmup_ns) == (executor, "http://127.0.0.1:1", found.load.warmup)
    told = (made.arrivals, made.arrivals_in(made.warmup_ns, made.length_ns))
    if arrivals is None:
        assert 700 < told[0] < 1100 and 480 < told[1] < 720  # 15 s and 10 s of 60/s
    else:
        assert told == arrivals
    stored = found.as_dict()["load"]
    assert plan_of({**stored, "file": found.load.file}) == found.load.plan()
    assert canonical(stored)
    rules = validation_schema()
    assert fits(read(project / "v.yaml"), rules, rules)


def test_the_stages_are_the_whole_load(project: Path) -> None:
    load = validation(project, f"executor: ramping-arrival-rate\n{STAGES}").load
    assert (load.warmup, load.duration) == (5 * SECOND, 25 * SECOND)
    users = validation(project, "executor: ramping-users\nstages: [{target: 4, duration: 8s}]").load.plan()
    assert users.users_of(0) == 4 and users.levels(0)[1] == (2 * SECOND, 1)


def test_a_replay_lasts_as_long_as_its_file(project: Path) -> None:
    load = validation(project, "executor: replay\nfile: times.txt\nspeed: 0.5\nwarmup: 2s").load
    assert load.warmup + load.duration == 19 * SECOND  # the last arrival is due at 18.5 s
    assert validation(project, "executor: replay\nfile: times.txt\nduration: 2s").load.duration == 2 * SECOND
    assert load.file == str(project / "times.txt")
    assert load.plan().peak == 1 and load.plan().users_of(0) == 50
    assert validation(project, "executor: replay\nfile: times.txt").as_dict()["load"]["file"] == "times.txt"


@pytest.mark.parametrize(
    ("load", "line", "column", "said"),
    [
        ("executor: constant-arival-rate\nrate: 5\nduration: 9s", 7, 15, "Did you mean 'constant-arrival-rate'?"),
        ("rate: 5\nduration: 9s", 6, 3, "'spec.load.executor' is required"),
        ("executor: constant-arrival-rate\nrate: 5\nduraton: 9s", 9, 5, "Did you mean 'duration'?"),
        ("executor: constant-arrival-rate\nrate: 5\nduration: 9s\nstages: []", 10, 5,
         "belongs to ramping-arrival-rate, ramping-users. Known here: duration, executor, maxLateness"),
        ("executor: constant-users\nusers: 5\nduration: 9s\nrate: 5", 10, 5, "constant-arrival-rate, poisson"),
        ("executor: poisson\nrate: 5", 6, 3, "'spec.load.duration' is required"),
        ("executor: ramping-arrival-rate\nduration: 9s\nstages: [{target: 1, duration: 9s}]", 8, 5, "belongs to"),
        ("executor: ramping-arrival-rate\nstages: [{target: 1, duraton: 9s}]", 8, 26, "Did you mean 'duration'?"),
        ("executor: ramping-arrival-rate\nstages: [{target: -1, duration: 9s}]", 8, 23, "-1 is not a rate"),
        ("executor: ramping-arrival-rate\nstages: [{target: 0, duration: 9s}]", 8, 13, "every target is 0"),
        ("executor: ramping-arrival-rate\nstages: [{target: 5, duration: 4s}]", 8, 13, "the warm-up 5s: nothing is"),
        ("executor: ramping-arrival-rate\nstages: []", 8, 13, "at least 1 item"),
        ("executor: ramping-arrival-rate\nwarmup: 9s\nstages: [{target: 5, duration: 9s}]", 8, 13, "nothing is left"),
        ("executor: ramping-users\nstages: [{target: 5, duration: 9s}, {target: 2.5, duration: 9s}]", 8, 50,
         "2.5 is no whole number"),
        ("executor: ramping-users\nstartRate: 5\nstages: [{target: 5, duration: 9s}]", 8, 5,
         "Did you mean|ramping-arrival-rate"),
        ("executor: replay\nfile: nowhere.txt", 8, 11, "no file 'nowhere.txt'"),
        ("executor: replay\nfile: times.txt\nwarmup: 10s", 8, 11, "no arrival of the file falls into"),
        ("executor: replay\nfile: times.txt\nduration: 500ms", 8, 11, "no arrival of the file falls into"),
        ("executor: replay\nfile: times.txt\nspeed: 0", 9, 12, "greater than 0"),
        ("executor: poisson\nrate: 1000\nduration: 1d", 9, 15, "8.64e+07 arrivals, of which each is drawn"),
        ("executor: poisson\nrate: 5\nduration: 9s\nseed: -1", 10, 11, "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_each_mistake_is_located(project: Path, load: str, line: int, column: int, said: str) -> None:
    error = refused(project, load)
    where: Any = error.location
    assert (where.line, where.column) == (line, column), error.render()
    assert any(part in error.render() for part in said.split("|")), error.render()


def test_a_mistake_in_a_file_of_arrivals_is_shown_there(project: Path) -> None:
    (project / "times.txt").write_text("1\n2\nthree\n")
    error = refused(project, "executor: replay\nfile: times.txt")
    assert error.render().startswith(f"{project}/times.txt:3:1: replay-file: 'three' is not a time")
    assert "    three\n    ^^^^^" in error.render()


def test_what_the_harness_refuses_does_not_fit_the_schema_either(project: Path) -> None:
    rules = validation_schema()
    for load in ("executor: constant-users\nusers: 5\nduration: 9s\nrate: 5", "executor: poisson\nrate: 5",
                 "executor: ramping-arrival-rate\nstages: [{target: -1, duration: 9s}]",
                 "executor: replay\nfile: times.txt\nspeed: fast"):  # fmt: skip
        assert not fits(read(write(project, load)), rules, rules), load


def test_a_run_keeps_the_file_that_it_replays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "scenario_environment", lambda stack: {})
    stack: Any = SimpleNamespace(
        file=SimpleNamespace(spec=SimpleNamespace(target="web.http")), address=lambda target: "127.0.0.1:1"
    )
    run = RunDir.create(project / "results", "replay")
    found = validation(project, "executor: replay\nfile: times.txt\nqueue: 3\nmaxLateness: 9ms\ntimeout: 2s")
    plan = run_module._load_plan(found, stack, run)
    (project / "times.txt").unlink()
    assert plan.file.startswith(str(run.path.resolve())) and plan.arrivals == 4
    assert (plan.host, plan.queue, plan.timeout_ns) == ("http://127.0.0.1:1", 3, 2 * SECOND)


PROFILES = "  profiles:\n    nightly: {%s}\n"


def test_a_profile_changes_what_its_executor_takes(project: Path) -> None:
    load = "executor: ramping-users\nstages: [{target: 5, duration: 9s}]"
    more = PROFILES % "stages: [{target: 50, duration: 1m}], startUsers: 10, warmup: 20s"
    assert validation(project, load, more).load.plan().users_of(0) == 5
    nightly = validation(project, load, more, "nightly").load
    assert (nightly.duration, nightly.start, nightly.plan().users_of(0)) == (40 * SECOND, 10, 50)


@pytest.mark.parametrize(
    ("changes", "profile", "column", "said"),
    [("rate: 5", "pr", 15, "ramping-users takes no 'rate'"), ("duration: 5s", "nightly", 15, "takes no 'duration'"),
     ("warmup: 9s", "nightly", 23, "nothing is left"), ("ratte: 5", "pr", 15, "Did you mean 'rate'"),
     ("stages: [{target: 0.5, duration: 9s}]", "nightly", 33, "no whole number")],
)  # fmt: skip
def test_a_profile_that_changes_something_else_is_refused(
    project: Path, changes: str, profile: str, column: int, said: str
) -> None:
    load = "executor: ramping-users\nstages: [{target: 5, duration: 9s}]"
    error = refused(project, load, PROFILES % changes, profile)
    assert error.location and (error.location.line, error.location.column) == (12, column), error.render()
    assert said in error.render()
