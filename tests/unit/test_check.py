"""`harness check`: the arithmetic of what can be decided, reading everything with all errors, and that nothing is left
behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli.main import app
from harness.core.outcome import Outcome
from harness.model.load import LoadPlan
from harness.model.threshold import parse_threshold
from harness.results.earlier import EarlierRuns, steady_arrivals
from harness.slo.demand import share_samples, threshold_demand
from harness.slo.statistics.decision import decide
from harness.slo.statistics.shares import share_interval

ROOT = Path(__file__).parent.parent.parent
STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: tiny}
spec:
  timeScale: 15
  services:
    prometheus: {use: prometheus, config: prometheus.yml}
    web: {command: [sleep, "9"], ports: [http]}
  scrape: {web: web.http}
  target: web.http
"""
PROMETHEUS = "global: {scrape_interval: 15s}\nscrape_configs: [{job_name: web, scrape_interval: 30s}]\n"
VALIDATION = """\
apiVersion: harness/v1
kind: Validation
metadata: {name: quick}
spec:
  scenario: scenario.py
  load: {executor: constant-arrival-rate, rate: 60, warmup: 2s, duration: 10s}
  thresholds:
    latency{name:search}: ["p(99)<80ms"]
    errors{name:search}: ["rate<1%"]
  objectives: [quick.openslo.yaml]
"""
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: web}
spec:
  service: web
  indicator:
    metadata: {name: web}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'errors_total{job="web"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'requests_total{job="web"}'}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: availability, target: 0.99}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wreck = tmp_path / "prometheus"
    wreck.write_text("#!/bin/sh\nexit 1\n")
    wreck.chmod(0o755)
    monkeypatch.setenv("SLO_HARNESS_TOOL_PROMETHEUS", str(wreck))  # there, whatever this machine has
    (tmp_path / "stack.yaml").write_text(STACK)
    (tmp_path / "prometheus.yml").write_text(PROMETHEUS)
    (tmp_path / "scenario.py").write_text("raise SystemExit('a check must not run this')\n")
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos/quick.yaml").write_text(VALIDATION)
    (tmp_path / "slos/quick.openslo.yaml").write_text(SLO)
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def promises(*arguments: str) -> dict[str, dict[str, object]]:
    (validation,) = json.loads(check("--json", *arguments).stdout)["validations"]
    return {one["name"]: one for one in validation["thresholds"] + validation["objectives"]}


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("bound", [-0.1, 0.0, 0.001, 0.01, 0.025, 0.5, 0.95, 0.975, 0.99, 0.999, 1.0, 1.2])
def test_the_samples_that_a_share_wants_are_the_least_that_the_judge_passes(operator: str, bound: float) -> None:
    def passes(samples: int) -> bool:
        events = 0 if operator.startswith("<") else samples
        return decide(share_interval(events, samples, samples), operator, bound) is Outcome.PASS

    wanted = share_samples(operator, bound)
    if wanted is None:
        assert not passes(1_000_000)
    else:
        assert passes(wanted)
        assert wanted == 1 or not passes(wanted - 1)


@pytest.mark.parametrize(
    ("selector", "condition", "kind", "samples"),
    [
        ("errors", "rate<1%", "counted", 368),
        ("errors", "rate<0.1%", "counted", 3688),
        ("errors", "rate<=0", "never", 0),
        ("errors", "rate==0", "fact", 1),
        ("errors", "avg<1%", "mismatch", 0),
        ("latency", "p(99)<80ms", "counted", 459),
        ("latency", "p(1)>1ms", "counted", 459),
        ("latency", "p(99.9)<80ms", "counted", 4603),
        ("latency", "max<1s", "fact", 1),
        ("latency", "avg<80ms", "scatter", 1),
        ("recall", "avg>=0.95", "scatter", 72),
        ("recall", "rate>0.9", "mismatch", 0),
        ("requests", "rate>10/s", "fact", 1),
    ],
)
def test_what_a_threshold_wants(selector: str, condition: str, kind: str, samples: int) -> None:
    found = threshold_demand(parse_threshold(selector, condition))
    assert (found.kind, found.samples) == (kind, samples)


def test_arrivals_of_the_steady_phase_are_those_of_the_timetable() -> None:
    assert steady_arrivals(LoadPlan("", 60, 2_000_000_000, 10_000_000_000)) == 600
    assert steady_arrivals(LoadPlan("", 1, 1_500_000_000, 2_000_000_000)) == 2  # due at 0, 1 | 2, 3 s
    assert steady_arrivals(LoadPlan("", 3, 0, 1_000_000_000)) == 3
    assert steady_arrivals(LoadPlan("", 0, 0, 1_000_000_000, executor="constant-users", users=3)) is None


EXECUTORS = {
    "poisson, rate: 60, warmup: 2s, duration: 10s": ("poisson, 60/s, 120 users, 1 worker", "can be decided"),
    "ramping-arrival-rate, warmup: 2s, stages: [{target: 100, duration: 2s}, {target: 100, duration: 10s}]": (
        "ramping-arrival-rate, 0/s, 100/s in 2s, 100/s in 10s, 200 users, 1 worker\n"
        "  warmup    2s, 100 arrivals, not judged\n  steady    10s, 1000 arrivals\n",
        "can be decided",
    ),
    "replay, file: times, speed: 2, warmup: 0s": ("replay, times 2 times as fast, 50 users, 1 worker\n"
                                                  "  steady    3s, 3 arrivals\n", "cannot be decided"),
    "ramping-users, warmup: 2s, stages: [{target: 9, duration: 12s}]": (
        "ramping-users, 0 users, 9 users in 12s, 9 users, 1 worker\n"
        "  warmup    2s, not judged\n  steady    10s\n",
        "by users",
    ),
}  # fmt: skip


@pytest.mark.parametrize("load", EXECUTORS)
def test_each_executor_is_previewed_with_the_arrivals_to_be_expected(project: Path, load: str) -> None:
    (project / "slos/times").write_text("1\n2\n4.5\n")
    text = VALIDATION.replace("constant-arrival-rate, rate: 60, warmup: 2s, duration: 10s", load)
    (project / "slos/quick.yaml").write_text(text.replace("  objectives: [quick.openslo.yaml]\n", ""))
    done = check("slos/quick.yaml")
    shown, state = EXECUTORS[load]
    assert shown in done.output, done.output
    found = promises("slos/quick.yaml")["latency{name:search} p(99)<80ms"]
    assert found["state"] == state
    assert (found["planned"] is None) == (state == "by users")
    assert done.exit_code == (3 if state == "cannot be decided" else 0)


def test_a_window_has_the_arrivals_of_the_slowest_part_of_a_ramp(project: Path) -> None:
    ramp = "ramping-arrival-rate, warmup: 0s, startRate: 100, stages: [{target: 0, duration: 10s}]"
    text = VALIDATION.replace("constant-arrival-rate, rate: 60, warmup: 2s, duration: 10s", ramp)
    (project / "slos/quick.yaml").write_text(text.replace("80ms", "80ms over 2s"))
    found = promises("slos/quick.yaml")["latency{name:search} p(99)<80ms over 2s"]
    assert found["planned"] == 20  # of 500; the last two seconds of a rate that ends at 0


def test_a_plan_that_can_be_decided_ends_with_0_and_leaves_nothing(project: Path) -> None:
    before = sorted(project.rglob("*"))
    done = check()
    assert done.exit_code == 0, done.output
    assert sorted(project.rglob("*")) == before
    assert "steady    10s, 600 arrivals" in done.output and "warmup    2s, 120 arrivals, not judged" in done.output
    assert "(5 scrapes of web)" in done.output  # 30 s of the seed, fifteen times quicker
    assert "start-up unknown" in done.output
    assert "1 of 1 validation can be decided in full" in done.output


def test_what_cannot_be_decided_says_what_would(project: Path) -> None:
    path = project / "slos/quick.yaml"
    path.write_text(VALIDATION.replace("duration: 10s", "duration: 4s"))
    done = check()
    assert done.exit_code == 3
    said = "cannot be decided: latency{name:search} p(99)<80ms: 240 samples, needs 459; lengthen duration to 8s"
    assert said in done.output
    assert "0 of 1 validation can be decided in full" in done.output
    path.write_text(VALIDATION.replace('"p(99)<80ms"', '"p(99)<80ms over 5s"'))
    one = promises()["latency{name:search} p(99)<80ms over 5s"]
    assert (one["planned"], one["wanted"], one["state"]) == (300, 459, "cannot be decided")
    assert one["why"] == "300 samples, needs 459; widen the window to 8s"
    path.write_text(VALIDATION.replace("duration: 10s", "duration: 1s"))
    why = promises()["web/availability >= 0.99"]["why"]
    assert why == "web is scraped 0 times in the steady phase, needs 1; lengthen duration to 2s"


def test_an_objective_in_windows_is_planned_by_the_window(project: Path) -> None:
    path = project / "slos/quick.openslo.yaml"
    path.write_text(
        SLO.replace("metadata: {name: web}", "metadata: {name: web, annotations: {slo-harness/window: 5s}}", 1)
    )
    (promise,) = (one for name, one in promises().items() if name.startswith("web/"))
    assert (promise["window_seconds"], promise["planned"], promise["state"]) == (5, 300, "cannot be decided")
    assert promise["why"].startswith("300 samples, needs 368; lengthen window to 7s")


def test_time_slices_are_planned_by_their_number(project: Path) -> None:
    path = project / "slos/quick.openslo.yaml"
    text = SLO.replace("budgetingMethod: Occurrences", "budgetingMethod: Timeslices")
    path.write_text(text.replace("target: 0.99", "target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 1m"))
    (project / "slos/quick.yaml").write_text(VALIDATION.replace("duration: 10s}", "duration: 150s}"))
    (promise,) = (one for name, one in promises().items() if name.startswith("web/"))
    assert (promise["planned"], promise["state"]) == (3, "a fact")


def test_profiles_are_checked_each_by_itself(project: Path) -> None:
    path = project / "slos/quick.yaml"
    path.write_text(VALIDATION.replace("10s}", "1s}") + "  profiles: {nightly: {duration: 1m}}\n")
    assert check().exit_code == 3
    assert check("--profile", "nightly").exit_code == 0
    assert check("--profile", "weekly").exception is not None


def test_all_errors_of_all_files_are_shown(project: Path) -> None:
    bad = VALIDATION.replace("p(99)<80ms", "p(99)<80").replace("rate<1%", "rate!1%")
    (project / "slos/bad.yaml").write_text(bad.replace("name: quick", "name: bad"))
    (project / "slos/worse.yaml").write_text(VALIDATION.replace("scenario:", "scenery:").replace("2s", "2 s"))
    (project / "slos/stray.openslo.yaml").write_text(SLO.replace("name: web}", "name: stray}").replace("0.99", "99"))
    done = check()
    assert done.exit_code == 2
    places = [line.split(": ")[0:2] for line in done.stderr.splitlines() if line.startswith(str(project))]
    assert [(Path(where.split(":")[0]).name, slug) for where, slug in places] == [
        ("bad.yaml", "threshold-unit"),
        ("bad.yaml", "threshold-syntax"),
        ("worse.yaml", "unknown-field"),
        ("worse.yaml", "bad-value"),
        ("stray.openslo.yaml", "bad-value"),
    ]
    assert "quick (pr)" in done.stdout  # what is right is shown all the same
    assert "; 5 errors" in done.stdout
    assert [one["slug"] for one in json.loads(check("--json").stdout)["errors"]] == [slug for _, slug in places]


def test_a_scenario_is_compiled_and_not_run(project: Path) -> None:
    (project / "scenario.py").write_text("x = 1\nclass = 2\n")
    (project / "slos/quick.openslo.yaml").write_text(SLO.replace("errors_total{", "errors_total{{"))
    done = check()
    assert done.exit_code == 2
    assert "scenario.py:2:7: scenario-import-failed: SyntaxError: invalid syntax" in done.stderr
    assert "promql-syntax" in done.stderr  # neither error hides the other


def test_a_stack_file_that_cannot_be_read_is_an_error_too(project: Path) -> None:
    (project / "prometheus.yml").write_text("scrape_configs: []\n")
    done = check("stack.yaml")
    assert done.exit_code == 2 and "prometheus-config" in done.stderr
    assert check("slos/quick.yaml").exit_code == 2


def test_what_this_machine_lacks_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLO_HARNESS_TOOL_PROMETHEUS")
    monkeypatch.setenv("PATH", str(project))  # and the cache is empty
    (project / "prometheus").unlink()
    done = check()
    assert done.exit_code == 3
    why = "it needs prometheus, which cannot be had on this machine: prometheus (Prometheus; Debian package prometheus)"
    assert f"not-validated: quick: objective web/availability: {why} is neither on PATH" in done.output
    (project / "slos/quick.yaml").write_text(VALIDATION + "  needs: [prometheus]\n")
    assert "not-validated: quick: prometheus: prometheus (Prometheus;" in check().output


def earlier_run(results: Path, name: str, stack_id: str, began: int, *, targets: float, whole: float) -> None:
    path = results / f"{began}-{name}"
    path.mkdir(parents=True)
    load = {"rate": 60.0, "warmup": 2_000_000_000, "duration": 10_000_000_000}
    (path / "plan.json").write_text(json.dumps({"name": name, "load": load}))
    stack = {"name": "tiny", "id": stack_id, "reused": False}
    run = {"began_wall_ns": began, "seconds_to_ready": 1.0, "seconds_to_targets": targets, "seconds_in_all": whole}
    (path / "run.json").write_text(json.dumps({**run, "stack": stack}))
    finding = {"id": "thresholds/errors{name:search}/rate<5%", "samples": 120}
    (path / "verdict.json").write_text(json.dumps({"findings": [finding]}))


def test_earlier_runs_tell_how_long_it_takes_and_how_many_samples_there_are(project: Path) -> None:
    results = project / "results"
    earlier_run(results, "quick", "a", 1, targets=20.0, whole=35.0)
    earlier_run(results, "quick", "a", 2, targets=1.0, whole=16.0)  # on the stack of the one before
    (results / "3-broken").mkdir()
    (results / "3-broken/run.json").write_text("{")
    found = EarlierRuns(results)
    assert found.startup_seconds("tiny") == 20.0
    assert found.startup_seconds("other") is None
    assert found.rest_seconds() == 3
    assert found.samples_per_arrival("quick") == {"errors{name:search}": 0.2}
    done = check()
    assert "about 35s with start-up" in done.output  # 20 + 2 + 10 + 3
    assert "needs 368; lengthen duration to 31s" in done.output  # one sample in five arrivals
    assert done.exit_code == 3


def test_our_own_validations_can_be_decided_in_every_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for profile in ("pr", "nightly", "release"):
        done = check("--json", "--profile", profile, "--results", "no-such-directory")
        told = json.loads(done.stdout)
        assert told["errors"] == []
        undecided = [
            one["name"]
            for validation in told["validations"]
            for one in validation["thresholds"] + validation["objectives"]
            if one["state"] == "cannot be decided"
        ]
        assert undecided == []
