"""OpenSLO v1: what is built is read as the specification says, what is not is refused where it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.core.outcome import Outcome
from harness.model.openslo import Objective, load_objectives, objective_from_dict
from harness.model.openslo_parts import check_fits

ROOT = Path(__file__).parent.parent.parent

THRESHOLD = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: latency
  displayName: Searches are quick
  labels: {team: [search, data], tier: gold}
  annotations: {slo-harness/unit: s}
spec:
  description: p95 in the server
  service: app
  indicator:
    metadata: {name: p95}
    spec:
      thresholdMetric:
        metricSource:
          type: Prometheus
          spec:
            query: histogram_quantile(0.95, sum by (le) (rate(latency_seconds_bucket[$window])))
  timeWindow:
    - duration: 28d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: p95
      op: lt
      value: 0.25
      target: 0.99
"""
RATIO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: app
  indicator:
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: "requests_total{code='200'}"}}}
        total: {metricSource: {type: Prometheus, spec: {query: sum(requests_total)}}}
  budgetingMethod: Occurrences
  objectives:
    - target: 0.999
    - {displayName: three nines and a half, targetPercent: 99.95}
"""
SLI = """\
apiVersion: openslo/v1
kind: SLI
metadata: {name: errors}
spec:
  ratioMetric:
    counter: false
    bad: {metricSource: {type: Prometheus, spec: {query: 'sum(increase(e[$window]))'}}}
    total: {metricSource: {type: Prometheus, spec: {query: 'sum(increase(r[$window]))'}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: by-reference}
spec:
  service: app
  indicatorRef: errors
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
"""


def read(directory: Path, text: str) -> list[Objective]:
    (directory / "o.yaml").write_text(text)
    return load_objectives(directory / "o.yaml")


def refuse(directory: Path, text: str, old: str = "", new: str = "") -> UsageError:
    assert old in text
    with pytest.raises(UsageError) as caught:
        read(directory, text.replace(old, new, 1))
    assert caught.value.outcome is Outcome.USAGE
    return caught.value


def shown(error: UsageError, directory: Path) -> str:
    return error.render().replace(f"{directory}/", "")


def test_a_threshold_is_read(tmp_path: Path) -> None:
    (objective,) = read(tmp_path, THRESHOLD)
    assert objective.id == "objectives/latency/p95"
    assert (objective.kind, objective.operator, objective.target, objective.unit) == ("threshold", "<", 0.25, "s")
    assert (objective.service, objective.window) == ("app", "28d rolling")
    assert objective.description == "p95 in the server"
    assert objective.queries["value"].render(45_000_000_000).endswith("latency_seconds_bucket[45s])))")
    assert objective.evidence_path == "evidence/metrics/latency.p95.json"


@pytest.mark.parametrize(("op", "operator"), [("lt", "<"), ("lte", "<="), ("gt", ">"), ("gte", ">=")])
def test_the_four_operators(tmp_path: Path, op: str, operator: str) -> None:
    (objective,) = read(tmp_path, THRESHOLD.replace("op: lt", f"op: {op}"))
    assert objective.operator == operator


def test_a_ratio_is_read_with_all_its_objectives(tmp_path: Path) -> None:
    first, second = read(tmp_path, RATIO)
    assert (first.id, first.operator, first.target, first.unit) == ("objectives/availability/0", ">=", 0.999, "%")
    assert (second.id, second.target) == ("objectives/availability/three nines and a half", 0.9995)
    assert second.slug == "availability.three.nines.and.a.half"
    assert first.counter
    assert {role: query.counter for role, query in first.queries.items()} == {
        "good": 'requests_total{code="200"}',
        "total": "requests_total",
    }


def test_an_indicator_is_found_by_reference(tmp_path: Path) -> None:
    (objective,) = read(tmp_path, SLI)
    assert objective.id == "objectives/by-reference/0"
    assert list(objective.queries) == ["bad", "total"]
    assert not objective.counter


@pytest.mark.parametrize("text", [THRESHOLD, RATIO, SLI])
def test_a_plan_gives_the_same_objectives_again(tmp_path: Path, text: str) -> None:
    objectives = read(tmp_path, text)
    assert [objective_from_dict(json.loads(json.dumps(one.as_dict()))) for one in objectives] == objectives


def test_the_objectives_of_this_repository_are_read() -> None:
    latency, availability = load_objectives(ROOT / "slos/vector_search.openslo.yaml")
    assert (latency.id, latency.operator, latency.target) == ("objectives/vector-search-latency/p95", "<", 0.1)
    assert (availability.queries["bad"].counter, availability.target) == ("vector_search_errors_total", 0.99)


def test_an_unknown_field_names_the_nearest(tmp_path: Path) -> None:
    error = refuse(tmp_path, THRESHOLD, "thresholdMetric", "tresholdMetric")
    assert shown(error, tmp_path) == (
        "o.yaml:14:7: unknown-field: unknown field 'spec.indicator.spec.tresholdMetric'\n"
        "          tresholdMetric:\n"
        "          ^^^^^^^^^^^^^^\n"
        "  remedy: Did you mean 'thresholdMetric'?"
    )


def test_a_mistake_in_a_query_has_its_caret_in_the_query(tmp_path: Path) -> None:
    error = refuse(tmp_path, THRESHOLD, "(rate(latency", "(rate latency")
    assert shown(error, tmp_path) == (
        "o.yaml:18:63: promql-syntax: unexpected 'latency_seconds_bucket'\n"
        "                query: histogram_quantile(0.95, sum by (le) (rate latency_seconds_bucket[$window])))\n"
        "                                                                  ^^^^^^^^^^^^^^^^^^^^^^\n"
        "  remedy: Correct the query at the caret."
    )


def test_slices_that_are_longer_than_the_steady_phase_are_refused_where_they_stand(tmp_path: Path) -> None:
    slices = "target: 0.99\n      timeSliceTarget: 1\n      timeSliceWindow: 1m"
    text = THRESHOLD.replace("target: 0.99", slices)
    path = tmp_path / "o.yaml"
    path.write_text(text.replace("budgetingMethod: Occurrences", "budgetingMethod: Timeslices"))
    objectives = load_objectives(path)
    check_fits(objectives, 60_000_000_000, "pr")
    with pytest.raises(UsageError) as caught:
        check_fits(objectives, 59_000_000_000, "pr")
    assert shown(caught.value, tmp_path) == (
        "o.yaml:29:24: window-too-long: timeSliceWindow is 60s, longer than the steady phase of profile pr: 59s\n"
        "          timeSliceWindow: 1m\n"
        "                           ^^\n"
        "  remedy: Write a shorter one, or lengthen load.duration of this profile."
    )


def test_the_sliding_window_of_an_slo_is_read_and_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "o.yaml"
    annotated = THRESHOLD.replace("slo-harness/unit: s", "slo-harness/unit: s, slo-harness/window: 10s")
    assert annotated != THRESHOLD
    path.write_text(annotated)
    (found,) = load_objectives(path)
    assert (found.sliding_ns, found.part_ns) == (10_000_000_000, 10_000_000_000)
    assert objective_from_dict(found.as_dict()) == found
    with pytest.raises(UsageError, match="slo-harness/window is 10s, longer than the steady phase of profile pr"):
        check_fits([found], 9_000_000_000, "pr")


@pytest.mark.parametrize(
    ("text", "old", "new", "line"),
    [
        (THRESHOLD, "openslo/v1\n", "openslo.com/v2alpha\n", 1),
        (THRESHOLD, "openslo/v1\n", "openslo/v1alpha\n", 1),
        (THRESHOLD, "type: Prometheus", "type: Loki", 16),
        (SLI, "type: Prometheus", "type: Datadog", 7),
    ],
)
def test_whatever_is_not_built_is_refused(tmp_path: Path, text: str, old: str, new: str, line: int) -> None:
    error = refuse(tmp_path, text, old, new)
    assert (error.slug, error.location and error.location.line) == ("not-built-yet", line)


RAW = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: raw}
spec:
  service: app
  indicator:
    spec:
      ratioMetric:
        rawType: success
        raw: {metricSource: {type: Prometheus, spec: {query: share}}}
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
"""


def test_a_raw_ratio_is_a_share_that_anything_but_a_share_cannot_pass(tmp_path: Path) -> None:
    (success,) = read(tmp_path, RAW)
    assert (success.kind, success.operator, success.target, success.unit) == ("threshold", ">=", 0.999, "%")
    assert success.queries["value"].text == "(share) / ((share) >= bool 0) / ((share) <= bool 1)"
    (failure,) = read(tmp_path, RAW.replace("rawType: success", "rawType: failure"))
    assert (failure.operator, failure.target) == ("<=", 0.001)
    (commented,) = read(tmp_path, RAW.replace("query: share", 'query: "share # of all"'))
    assert commented.queries["value"].metrics == ("share",)
    error = refuse(tmp_path, RAW, "query: share", f"query: {' + '.join(['share'] * 90)}")
    assert (error.slug, error.location and error.location.line) == ("promql-syntax", 10)


def test_alert_policies_and_calendars_leave_the_promise_as_it_is(tmp_path: Path) -> None:
    (plain,) = read(tmp_path, THRESHOLD)
    policy = "{alertWhenBreaching: true, conditions: [{spec: {severity: page, condition: {op: gt, threshold: 2, \
lookbackWindow: 1h}}}], notificationTargets: [{spec: {target: mail}}]}"
    alerting = THRESHOLD.replace("  budgeting", f"  alertPolicies: [{{spec: {policy}}}]\n  budgeting")
    assert read(tmp_path, alerting) == [plain]
    aligned = THRESHOLD.replace("isRolling: true", "calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}")
    (calendar,) = read(tmp_path, aligned)
    assert calendar.as_dict() == {**plain.as_dict(), "window": "28d calendar from 2026-01-01 00:00:00 UTC"}


@pytest.mark.parametrize(
    ("text", "old", "new", "slug", "line"),
    [
        (THRESHOLD, "openslo/v1\n", "kubernetes/v1\n", "bad-value", 1),
        (THRESHOLD, "kind: SLO", "kind: Slo", "bad-value", 2),
        (THRESHOLD, "kind: SLO", "kind: {SLO: 1}", "bad-value", 2),
        (THRESHOLD, "name: latency", "name: La tency", "bad-value", 4),
        (THRESHOLD, "  service: app\n", "", "missing-field", 8),
        (THRESHOLD, "  budgetingMethod: Occurrences\n", "", "missing-field", 8),
        (THRESHOLD, "      op: lt\n", "", "missing-field", 24),
        (THRESHOLD, "      value: 0.25\n", "", "missing-field", 24),
        (THRESHOLD, "      target: 0.99\n", "", "missing-field", 24),
        (THRESHOLD, "op: lt", "op: eq", "bad-value", 25),
        (THRESHOLD, "value: 0.25", "value: '0.25'", "bad-value", 26),
        (THRESHOLD, "value: 0.25", "value: .nan", "bad-value", 26),
        (THRESHOLD, "target: 0.99", "target: 1.0", "bad-value", 27),
        (THRESHOLD, "target: 0.99", "target: 0", "bad-value", 27),
        (THRESHOLD, "target: 0.99", "targetPercent: 100", "bad-value", 27),
        (THRESHOLD, "target: 0.99", "target: 0.99\n      targetPercent: 99", "bad-value", 28),
        (THRESHOLD, "      target: 0.99", "      target: 0.99\n    - {op: lt, value: 1, target: 0.9}", "bad-value", 28),
        (THRESHOLD, "duration: 28d", "duration: 45s", "bad-value", 20),
        (THRESHOLD, "    - duration", "    - {duration: 1d, isRolling: true}\n    - duration", "bad-value", 20),
        (THRESHOLD, "  timeWindow", "  indicatorRef: p95\n  timeWindow", "bad-value", 19),
        (THRESHOLD, "query: histogram", "query: histogram_quantiles(0.5, x) # histogram", "promql-syntax", 18),
        (RATIO, "- target: 0.999", "- {target: 0.999, op: lt}", "bad-value", 14),
        (RATIO, "  budgeting", "  objectives: []\n  budgeting", "yaml-syntax", 14),
        (
            RATIO,
            "        good",
            "        bad: {metricSource: {type: Prometheus, spec: {query: x}}}\n        good",
            "bad-value",
            8,
        ),
        (RATIO, "        counter: true\n", "", "missing-field", 8),
        (RATIO, "counter: true", "counter: 1", "bad-value", 9),
        (RATIO, "sum(requests_total)", "a + b", "counter-expression", 11),
        (RATIO, "sum(requests_total)", "'sum(increase(a[$window]))'", "counter-expression", 11),
        (SLI, "indicatorRef: errors", "indicatorRef: error", "unknown-reference", 15),
        (SLI, "  indicatorRef: errors\n", "", "missing-field", 13),
        (SLI, "increase(e[$window])", "increase(e)", "promql-syntax", 7),
    ],
)
def test_mistakes_are_located(tmp_path: Path, text: str, old: str, new: str, slug: str, line: int) -> None:
    error = refuse(tmp_path, text, old, new)
    assert (error.slug, error.location and error.location.line) == (slug, line), error.render()
    assert error.remedy


def test_a_file_without_an_slo_judges_nothing(tmp_path: Path) -> None:
    assert refuse(tmp_path, SLI.split("---")[0]).slug == "nothing-to-judge"


def test_a_document_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert refuse(tmp_path, "- just\n- a list\n").slug == "bad-value"


def test_two_objectives_of_one_name_are_refused_also_across_files(tmp_path: Path) -> None:
    assert refuse(tmp_path, f"{THRESHOLD}---\n{THRESHOLD}").slug == "duplicate-name"
    (tmp_path / "a.yaml").write_text(THRESHOLD)
    (tmp_path / "b.yaml").write_text(THRESHOLD)
    with pytest.raises(UsageError, match=r"a\.yaml:4:9") as caught:
        load_objectives(tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert caught.value.slug == "duplicate-name"


def test_names_that_would_share_a_file_of_evidence_are_refused(tmp_path: Path) -> None:
    error = refuse(tmp_path, RATIO, "- target: 0.999", "- {displayName: three.nines and a half, target: 0.9}")
    assert (error.slug, error.location and error.location.line) == ("duplicate-name", 15)


def test_a_name_never_leads_out_of_the_run_directory(tmp_path: Path) -> None:
    (objective,) = read(tmp_path, THRESHOLD.replace("displayName: p95", "displayName: ../../../etc/passwd"))
    assert objective.evidence_path == "evidence/metrics/latency.etc.passwd.json"
