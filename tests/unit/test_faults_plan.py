"""Faults of a validation, read before anything starts: what they are, when, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.gate.breach import BreachWatch, told
from harness.gate.faults import read_faults, refuse_impossible_faults
from harness.gate.forecast import forecast
from harness.gate.plan import Planned, plan
from harness.stack.availability import Unavailable

SECOND = 1_000_000_000
STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: tiny}
spec:
  services:
    web: {command: [sleep, "9"], ports: [http], ready: {tcp: "${address:web.http}"}}
    redis: {use: redis}
  links:
    web->redis: {to: redis.resp}
    web->web: {to: web.http}
  target: web.http
"""
VALIDATION = """\
apiVersion: harness/v1
kind: Validation
metadata: {name: faulted}
spec:
  scenario: scenario.py
  needs: []
  load: {executor: constant-arrival-rate, rate: 60, warmup: 2s, duration: 20s}
  thresholds: {"latency{name:x}": ["p(99)<80ms", "max<9s"], "errors{name:x}": ["rate<1%"]}
  profiles: {nightly: {duration: 60s}}
  faults:
"""


def planned(directory: Path, *entries: str, profile: str = "pr") -> Planned:
    (directory / "stack.yaml").write_text(STACK)
    (directory / "scenario.py").write_text("")
    (directory / "v.yaml").write_text(VALIDATION + "".join(f"    - {entry}\n" for entry in entries))
    (one,) = plan(directory / "v.yaml", profile)
    return one


def test_times_and_parameters_as_they_stand_in_the_plan(tmp_path: Path) -> None:
    entries = (
        "{latency: {link: web->redis, delay: 20ms}, at: 5s, for: 10s}",
        "{latency: {link: web->redis, delay: 30ms}, at: 15s}",
        "{reset: {link: web->web, new: false}}",
    )
    one = planned(tmp_path, *entries)
    assert [(fault.id, fault.at_ns // SECOND, fault.for_ns // SECOND) for fault in one.faults] == [
        ("latency{web->redis}", 5, 10),
        ("latency{web->redis}#2", 15, 5),
        ("reset{web->web}", 0, 20),
    ]
    assert one.faults[2].as_dict()["parameters"] == {
        "link": "web->web", "seed": 0, "expect_traffic": True, "open": True, "new": False,
    }  # fmt: skip
    longer = planned(tmp_path, *entries, profile="nightly")  # an end that is not said is that of the profile
    assert [fault.end_ns // SECOND for fault in longer.faults] == [15, 60, 60]


@pytest.mark.parametrize(
    ("entry", "slug", "at", "words"),
    [
        ("{latancy: {link: web->redis, delay: 5ms}}", "fault-unknown", "latancy", "'latency'"),
        ("{latency: {link: web->redsi, delay: 5ms}}", "link-unknown", "web->redsi", "'web->redis'"),
        ("{latency: {link: web->redis}}", "missing-field", "latency", "'delay'"),
        ("{latency: }", "bad-value", "", "latency"),
        ("{latency: {link: web->redis, dealy: 5ms}}", "unknown-field", "dealy", "'delay'"),
        ("{latency: {link: web->redis, delay: 5}}", "bad-value", "5", "delay"),
        ("{latency: {link: web->redis, delay: soon}}", "bad-value", "soon", "is not a duration"),
        ("{latency: {link: web->redis, delay: 5ms, jitter: 9ms}}", "fault-parameter", "latency", "jitter"),
        ("{latency: {link: web->redis, delay: 5ms, lasting: 9s}}", "unknown-field", "lasting", "for: 10s"),
        ("{latency: {link: web->redis, delay: 5ms}, at: 20s}", "fault-outside", "20s", "steady phase of 20s"),
        ("{latency: {link: web->redis, delay: 5ms}, at: 15s, for: 6s}", "fault-outside", "6s", "would end at 21s"),
        ("{latency: {link: web->redis, delay: 5ms}, for: 0s}", "bad-value", "0s", "greater than 0"),
        ("{latency: {link: web->redis, delay: 5ms}, at: 5}", "bad-value", "5", "is not a duration"),
        ("{at: 5s}", "bad-value", "{at: 5s}", "exactly one fault"),
        ("{reset: {link: web->redis}, blackhole: {link: web->web}}", "bad-value", "{reset", "reset, blackhole"),
        ("latency", "bad-value", "latency", "dictionary"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(tmp_path: Path, entry: str, slug: str, at: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        planned(tmp_path, entry)
    error = raised.value
    assert error.slug == slug, error.render()
    assert words in error.cause + error.remedy
    assert error.location is not None and error.location.line == 11
    assert error.location.text[error.location.column - 1 :].startswith(at)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        planned(tmp_path, "{latancy: {}}", "{latency: {lnik: x, dealy: 5ms}}", "{reset: {link: nowhere}}")
    told = [raised.value, *raised.value.also]
    assert [(one.slug, one.location.line) for one in told if one.location is not None] == [
        ("fault-unknown", 11), ("unknown-field", 12), ("unknown-field", 12), ("link-unknown", 13),
    ]  # fmt: skip


@pytest.mark.parametrize(("second", "refused"), [("at: 14s", True), ("at: 15s", False), ("at: 0s, for: 5s", False)])
def test_two_faults_that_break_the_same_thing_may_not_meet(tmp_path: Path, second: str, refused: bool) -> None:
    entries = (
        "{latency: {link: web->redis, delay: 5ms}, at: 5s, for: 10s}",
        f"{{reset: {{link: web->redis}}, {second}}}",
    )
    if not refused:
        assert len(planned(tmp_path, *entries).faults) == 2
        return
    with pytest.raises(UsageError) as raised:
        planned(tmp_path, *entries)
    assert raised.value.slug == "fault-overlap"
    assert "link web->redis" in raised.value.cause and "14s to 15s" in raised.value.cause


def test_a_fault_that_this_machine_cannot_have_is_not_validated_before_anything_starts(tmp_path: Path) -> None:
    one = planned(tmp_path, "{latency: {link: web->redis, delay: 5ms}}")
    missing = {"redis": Unavailable("tool-missing", "redis-server is not installed", "install it")}
    with pytest.raises(HarnessError) as raised:
        refuse_impossible_faults(one.faults, one.stack, missing)
    assert (raised.value.slug, raised.value.outcome) == ("fault-unavailable", Outcome.NOT_VALIDATED)
    assert "redis-server is not installed" in raised.value.cause and raised.value.remedy == "install it"
    refuse_impossible_faults(one.faults, one.stack, {})
    foreseen = forecast(one, MappingProxyType(missing), [])
    assert (foreseen.state, foreseen.lacks[0].name) == ("not-validated", "fault latency{web->redis}")
    assert forecast(replace(one, faults=()), missing, []).state == "runs"


def test_check_shows_them_on_its_timeline(tmp_path: Path) -> None:
    planned(tmp_path, "{latency: {link: web->redis, delay: 20ms}, at: 5s, for: 10s}", "{reset: {link: web->web}}")
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["check", str(tmp_path / "v.yaml")])
    assert "  fault     latency on web->redis, 5s to 15s of the steady phase: delay 20ms\n" in done.output
    assert "  fault     reset on web->web, 0s to 20s of the steady phase\n" in done.output
    data = json.loads(CliRunner().invoke(app, ["check", "--json", str(tmp_path / "v.yaml")]).stdout)
    assert data["validations"][0]["faults"][0] == {
        "id": "latency{web->redis}", "fault": "latency", "target": "web->redis", "at": 5.0, "seconds": 10.0,
        "parameters": {"link": "web->redis", "delay": "20ms"},
    }  # fmt: skip


def test_check_tells_wrong_faults_beside_what_else_is_wrong(tmp_path: Path) -> None:
    planned(tmp_path, "{reset: {link: web->web}}")
    text = (tmp_path / "v.yaml").read_text().replace("link: web->web", "link: web->wbe")
    (tmp_path / "v.yaml").write_text(text + "  objectives: [wrong.openslo.yaml]\n")
    (tmp_path / "wrong.openslo.yaml").write_text("apiVersion: openslo/v1\nkind: SLOO\n")
    (tmp_path / "scenario.py").write_text("def\n")
    done = CliRunner().invoke(app, ["check", str(tmp_path / "v.yaml")])
    assert done.exit_code == 2
    assert all(word in done.output for word in ("wrong.openslo.yaml:2", "link-unknown", "scenario-import-failed"))


def test_under_faults_a_breach_is_a_fact_or_none(tmp_path: Path) -> None:
    """Misses that a fault brings early in the phase do not tell that the promise on the whole phase is broken."""
    validation = planned(tmp_path, "{reset: {link: web->web}}").validation
    said = told(validation.thresholds, validation.load, SECOND, facts_only=True)
    assert said.endswith("latency{name:x} max<9s; not: latency{name:x} p(99)<80ms, errors{name:x} rate<1%")
    watch = BreachWatch(validation.thresholds, validation.load, tmp_path, SECOND, facts_only=True)
    assert [course.watch.rule for course in watch._courses] == ["fact"]


def test_reading_needs_no_stack_that_is_up(tmp_path: Path) -> None:
    one = planned(tmp_path, "{blackhole: {link: web->redis}}")
    assert read_faults(one.validation, one.stack) == one.faults
