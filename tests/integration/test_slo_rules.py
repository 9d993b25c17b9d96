"""The rules of `harness slo rules`, as the real promtool reads them: they check, and they fire when a budget burns."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.model.openslo import load_objectives
from harness.model.openslo_slo import load_service_levels
from harness.rules.burn_alerts import make_rules
from harness.rules.rule_file import write_rules
from harness.stack.tools import resolve_tool
from tests.integration.helpers import ROOT, harness

EXAMPLES = ROOT / "docs/openslo/valid"
CLEAN = 420  # minutes before it burns: longer than the longest window of a page
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {{name: availability}}
spec:
  service: app
  indicator:
    spec:
      ratioMetric:
{metric}
  timeWindow: [{{duration: {window}, isRolling: true}}]
  budgetingMethod: {method}
  objectives: [{{displayName: nines, target: 0.999{slices}}}]
{more}"""
BAD = """\
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: bad_total}}}
        total: {metricSource: {type: Prometheus, spec: {query: all_total}}}"""
GOOD = """\
        counter: false
        good: {metricSource: {type: Prometheus, spec: {query: 'rate(all_total[$window]) - rate(bad_total[$window])'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(all_total[$window])) # all'}}}"""
RAW = """\
        rawType: failure
        raw: {metricSource: {type: Prometheus, spec: {query: 'rate(bad_total[$window]) / rate(all_total[$window])'}}}"""


def promtool(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    tool = resolve_tool("promtool")
    return subprocess.run(
        [tool.path, *arguments],
        cwd=cwd,
        env={**os.environ, **tool.env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def made(path: Path) -> str:
    return write_rules(make_rules(load_service_levels([path])), [path])


def rules_of(
    directory: Path,
    *,
    metric: str = BAD,
    window: str = "30d",
    method: str = "Occurrences",
    slices: str = "",
    more: str = "",
) -> None:
    path = directory / "slo.yaml"
    path.write_text(SLO.format(metric=metric, window=window, method=method, slices=slices, more=more))
    (directory / "rules.yml").write_text(made(path))


def says(
    directory: Path, series: Mapping[str, str], expected: Mapping[str, Mapping[int, float]], step: str = "1m"
) -> None:
    """Under `series`, minute by minute, each expression has these values at these minutes; 0 for no result."""
    tests = [
        {
            "expr": expression,
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": value}] if value else [],
        }
        for expression, values in expected.items()
        for minute, value in values.items()
    ]
    one = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": tests,
    }
    with (directory / "test.yml").open("w") as file:
        YAML().dump({"rule_files": ["rules.yml"], "evaluation_interval": step, "tests": [one]}, file)
    done = promtool("test", "rules", "test.yml", cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr


def firing(kind: str) -> str:
    return f'count(ALERTS{{alertname="ErrorBudgetBurn{kind}",alertstate="firing"}})'


def burnt(rate: float, minutes: int, after: int = 0) -> dict[str, str]:
    """Seven clean hours, `minutes` at a burn rate, `after` clean minutes; 1,000 events a minute, a budget of 0.1 %."""
    last = rate * minutes
    return {
        "bad_total": f"0x{CLEAN} {rate}+{rate}x{minutes - 1}" + (f" {last}x{after - 1}" if after else ""),
        "all_total": f"0+1000x{CLEAN + minutes + after}",
    }


@pytest.mark.parametrize("name", ["references", "alerts-inline", "ratio-good-total", "ratio-bad-total", "ratio-raw",
                                  "calendar-window", "timeslices"])  # fmt: skip
def test_promtool_accepts_the_rules_of_every_example_with_a_budget(tmp_path: Path, name: str) -> None:
    (tmp_path / "rules.yml").write_text(made(EXAMPLES / f"{name}.yaml"))
    checked = promtool("check", "rules", "rules.yml", cwd=tmp_path)
    assert (checked.returncode, "SUCCESS" in checked.stdout) == (0, True), checked.stdout + checked.stderr


def test_the_command_writes_what_promtool_accepts(tmp_path: Path) -> None:
    files = [str(path) for path in sorted((ROOT / "slos").glob("*.openslo.yaml"))]
    done = harness("slo", "rules", *files, "-o", "slo.rules.yml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "left out: vector-search-latency: a thresholdMetric has no events to count" in done.stderr
    checked = promtool("check", "rules", "slo.rules.yml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    printed = harness("slo", "rules", *files, cwd=tmp_path)
    assert printed.stdout == (tmp_path / "slo.rules.yml").read_text()


@pytest.mark.parametrize("metric", [BAD, GOOD, RAW], ids=["bad-total", "good-total", "raw"])
def test_a_page_fires_at_14_4_times_and_not_at_10(tmp_path: Path, metric: str) -> None:
    rules_of(tmp_path, metric=metric)
    says(tmp_path, burnt(14.5, 90), {firing("Page"): {CLEAN + 50: 0, CLEAN + 75: 1}})
    says(tmp_path, burnt(14.3, 90), {firing("Page"): {CLEAN + 75: 0}})
    says(tmp_path, burnt(10, 120), {firing("Page"): {CLEAN + 60: 0, CLEAN + 119: 0}})


def test_ten_times_pages_too_when_it_has_taken_five_percent_of_the_budget(tmp_path: Path) -> None:
    """6 x on 6 h: 3.6 hours at 10 x."""
    rules_of(tmp_path)
    says(tmp_path, burnt(10, 300), {firing("Page"): {CLEAN + 205: 0, CLEAN + 230: 1}})


def test_an_outage_pages_within_minutes_and_stops_when_it_is_over(tmp_path: Path) -> None:
    rules_of(tmp_path)
    over = CLEAN + 10
    # the long windows remember it for hours, the short ones let go: the slower of them after half an hour
    says(tmp_path, burnt(1000, 10, 60), {firing("Page"): {CLEAN: 0, CLEAN + 2: 1, over: 1, over + 25: 1, over + 32: 0}})


def test_a_slow_burn_makes_a_ticket_and_no_page(tmp_path: Path) -> None:
    """1 x on 3 days, as far as they are known: at 2 x that is when as long has burnt as was clean."""
    rules_of(tmp_path)
    ticket, page = firing("Ticket"), firing("Page")
    says(tmp_path, burnt(2, 600), {ticket: {CLEAN + 400: 0, CLEAN + 440: 1}, page: {CLEAN + 590: 0}})


def test_no_traffic_and_no_series_fire_nothing(tmp_path: Path) -> None:
    rules_of(tmp_path)
    quiet = {"bad_total": f"0x{CLEAN}", "all_total": f"5x{CLEAN}"}
    says(tmp_path, quiet, {firing("Page"): {CLEAN: 0}, firing("Ticket"): {CLEAN: 0}})
    says(tmp_path, {"other": f"0x{CLEAN}"}, {firing("Page"): {CLEAN: 0}, "count(slo:error_ratio:rate1h)": {CLEAN: 0}})


def test_the_windows_follow_the_window_of_the_slo(tmp_path: Path) -> None:
    """Over 60 days all windows are twice as long: 14.5 x pages after two hours, and not after one."""
    rules_of(tmp_path, window="60d")
    says(tmp_path, burnt(14.5, 150), {firing("Page"): {CLEAN + 75: 0, CLEAN + 135: 1}})


def test_time_slices_burn_by_the_share_of_bad_slices(tmp_path: Path) -> None:
    """With 5 % allowed in a minute, 4 % errors are no bad minute, and 6 % are; an empty minute counts nothing."""
    rules_of(tmp_path, method="Timeslices", slices=", timeSliceTarget: 0.95, timeSliceWindow: 2m")
    ratio = "sum(slo:error_ratio:rate5m) > 0"
    says(tmp_path, burnt(40, 90), {firing("Page"): {CLEAN + 75: 0}, ratio: {CLEAN + 75: 0}})
    says(tmp_path, burnt(60, 90), {firing("Page"): {CLEAN: 0, CLEAN + 75: 1}, ratio: {CLEAN + 75: 1}})
    empty = {"bad_total": f"0x{CLEAN}", "all_total": f"0x{CLEAN}"}
    says(tmp_path, empty, {"count(slo:slice_error:last)": {CLEAN: 0}})


def test_the_policy_of_an_slo_is_a_rule_of_its_own(tmp_path: Path) -> None:
    policy = """\
  alertPolicies:
    - metadata: {name: mine}
      spec:
        alertWhenBreaching: true
        alertWhenNoData: true
        conditions: [{spec: {severity: page, condition: {op: gte, threshold: 2, lookbackWindow: 30m, alertAfter: 5m}}}]
        notificationTargets: [{spec: {target: on-call}}, {spec: {target: chat}}]
"""
    rules_of(tmp_path, more=policy)
    mine = 'count(ALERTS{alertname="mine",alertstate="firing",severity="critical",notify="on-call,chat"})'
    unknown = 'count(ALERTS{alertname="mine no data",alertstate="firing"})'
    says(tmp_path, burnt(2.1, 60), {mine: {CLEAN: 0, CLEAN + 29: 0, CLEAN + 45: 1}, unknown: {CLEAN: 0}})
    says(tmp_path, {"other": "0x60"}, {mine: {60: 0}, unknown: {3: 0, 60: 1}})


def test_an_alert_says_what_burns_and_where_to_look(tmp_path: Path) -> None:
    rules_of(tmp_path)
    series = burnt(1000, 30)
    alert = {
        "eval_time": f"{CLEAN + 20}m",
        "alertname": "ErrorBudgetBurnPage",
        "exp_alerts": [
            {
                "exp_labels": {"slo": "availability", "service": "app", "objective": "nines", "severity": "critical"},
                "exp_annotations": {
                    "summary": "The error budget burns too fast: availability",
                    "description": "app: the error budget of availability (nines: 99.9 % over 30d rolling) burns at "
                    "333 times the rate that uses it up exactly. "
                    "That takes 2 % of the budget in 1h, or 5 % of the budget in 6h.",
                    "runbook_url": "docs/openslo.md#when-a-budget-burns",
                },
            }
        ],
    }
    one: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [alert],
    }
    with (tmp_path / "test.yml").open("w") as file:
        YAML().dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [one]}, file)
    done = promtool("test", "rules", "test.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_raw_ratio_that_is_no_share_is_infinite_in_a_run(tmp_path: Path) -> None:
    """The guard of harness.model.openslo, as the real PromQL engine works it out."""
    path = tmp_path / "slo.yaml"
    path.write_text(
        (EXAMPLES / "ratio-raw.yaml").read_text().replace("avg_over_time(render_success_ratio[$window])", "share")
    )
    guarded = load_objectives(path)[0].queries["value"].text
    (tmp_path / "rules.yml").write_text("groups: []\n")
    series = {f'share{{is="{value}"}}': f"{value}x5" for value in ("0", "0.25", "1", "99.9", "-1")}
    finite = {f"count(abs({guarded}) < Inf)": {3: 3}, f"count(abs({guarded}) == Inf)": {3: 2}}
    says(tmp_path, series, finite)
