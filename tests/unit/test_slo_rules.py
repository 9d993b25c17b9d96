"""Burn rates hold together, scale with the SLO's window, and are refused where they could not be believed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import UsageError
from harness.model import burn_rates
from harness.model.openslo_duration import shorthand_seconds
from harness.model.openslo_slo import load_service_levels
from harness.rules.burn_alerts import Rules, make_rules
from harness.rules.expressions import promql_window
from harness.rules.rule_file import write_rules

EXAMPLES = Path(__file__).parent.parent.parent / "docs/openslo/valid"
RATIO = (EXAMPLES / "ratio-good-total.yaml").read_text()
SLICES = (EXAMPLES / "timeslices.yaml").read_text()
TABLE = tomllib.loads(Path(burn_rates.__file__).with_suffix(".toml").read_text())


def rules(directory: Path, text: str, old: str = "", new: str = "") -> Rules:
    assert old in text
    path = directory / "slo.yaml"
    path.write_text(text.replace(old, new, 1))
    return make_rules(load_service_levels([path]))


def by_record(made: Rules) -> dict[str, dict[str, Any]]:
    return {rule["record"]: rule for group in made.groups for rule in group["rules"] if "record" in rule}


def test_each_row_of_the_table_is_its_share_of_the_budget() -> None:
    assert [(row["burn_rate"], row["short"], row["long"]) for row in TABLE["alert"]] == [
        (14.4, "5m", "1h"), (6, "30m", "6h"), (3, "2h", "1d"), (1, "6h", "3d"),
    ]  # fmt: skip
    for row in TABLE["alert"]:
        long, short = shorthand_seconds(row["long"]), shorthand_seconds(row["short"])
        assert long == 12 * short
        assert row["burn_rate"] * long / shorthand_seconds(TABLE["period"]) == pytest.approx(row["budget"])


@pytest.mark.parametrize("days", [7, 28, 30, 90])
def test_an_alert_means_the_same_share_of_any_budget(days: int) -> None:
    for pair in burn_rates.burn_rates(days * 86_400):
        assert pair.factor * pair.long_s / (days * 86_400) == pytest.approx(pair.budget)
        assert pair.long_s == 12 * pair.short_s


@pytest.mark.parametrize(("seconds", "text"), [(300, "5m"), (280, "4m40s"), (86_400, "1d"), (241_920, "2d19h12m")])
def test_windows_are_written_as_promql_does(seconds: int, text: str) -> None:
    assert promql_window(seconds) == text


def test_objectives_of_one_slo_share_the_recorded_ratio(tmp_path: Path) -> None:
    made = rules(tmp_path, RATIO)
    (group,) = made.groups
    assert [rule["record"] for rule in group["rules"] if "record" in rule] == [
        f"slo:error_ratio:rate{window}" for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    ]
    five = by_record(made)["slo:error_ratio:rate5m"]
    assert five["expr"] == '1 - sum(rate(uploads_total{status="stored"}[5m])) / sum(rate(uploads_total[5m]))'
    alerts = [rule for rule in group["rules"] if "alert" in rule]
    assert [(rule["labels"]["objective"], rule["labels"]["severity"]) for rule in alerts] == [
        ("three nines", "critical"), ("three nines", "warning"), ("stretch", "critical"), ("stretch", "warning"),
    ]  # fmt: skip
    assert 'slo:error_ratio:rate1h{slo="upload-availability"} / 0.0005 > 14.4' in alerts[2]["expr"]


def test_time_slices_are_recorded_once_a_slice(tmp_path: Path) -> None:
    made = rules(tmp_path, SLICES)
    slices = [group for group in made.groups if "interval" in group]
    assert [(group["interval"], group["rules"][0]["expr"]) for group in slices] == [
        (
            "1m",
            "max(((histogram_quantile(0.9, sum by (le) (rate(search_seconds_bucket[1m])))) > -Inf) > bool 0.2)",
        ),
        ("5m", "((sum(rate(search_errors_total[5m])) / sum(rate(search_requests_total[5m]))) >= 0) > bool 0.05"),
    ]


def test_a_gauge_in_slices_is_the_share_of_good_moments(tmp_path: Path) -> None:
    old = "histogram_quantile(0.9, sum by (le) (rate(search_seconds_bucket[$window])))"
    made = rules(tmp_path, SLICES.replace("timeSliceTarget: 1,", "timeSliceTarget: 0.9,"), old, "queue_length")
    assert made.groups[0]["rules"][0]["expr"] == "max(avg_over_time(((queue_length) <= bool 0.2)[1m:]) < bool 0.9)"


@pytest.mark.parametrize(
    ("text", "old", "new", "slug", "line"),
    [
        (RATIO, "duration: 30d", "duration: 5d", "window-too-short", 17),
        (RATIO, "  timeWindow: [{duration: 30d, isRolling: true}]\n", "", "missing-field", 6),
        (
            RATIO,
            "counter: true\n        good:\n          metricSource: {type: Prometheus, spec: {query: "
            "'uploads_total{status=\"stored\"}'}}",
            "counter: false\n        good:\n          metricSource: {type: Prometheus, spec: {query: 'rate(a[5m])'}}",
            "window-missing",
            14,
        ),
        (SLICES, "timeSliceWindow: 1}", "timeSliceWindow: 6}", "slice-too-long", 16),
        ((EXAMPLES / "composite.yaml").read_text(), "", "", "not-built-yet", 18),
    ],
)
def test_what_could_not_be_believed_is_refused(
    tmp_path: Path, text: str, old: str, new: str, slug: str, line: int
) -> None:
    with pytest.raises(UsageError) as caught:
        rules(tmp_path, text, old, new)
    assert (caught.value.slug, caught.value.location and caught.value.location.line) == (slug, line)


def test_a_threshold_over_occurrences_is_left_out_by_name(tmp_path: Path) -> None:
    threshold = (EXAMPLES / "threshold.yaml").read_text()
    made = rules(tmp_path, f"{RATIO}---\n{threshold}")
    assert list(made.left_out) == ["checkout-latency"]
    assert "# Without checkout-latency: a thresholdMetric has no events to count" in write_rules(made, [Path("a.yaml")])
    with pytest.raises(UsageError, match="no-burn-rates: no SLO has a budget that could burn"):
        rules(tmp_path, threshold)


def test_the_authors_braces_do_not_become_a_template(tmp_path: Path) -> None:
    made = rules(tmp_path, RATIO, "three nines", "'{{ $labels.x }}'")
    (first, *_) = [rule for rule in made.groups[0]["rules"] if "alert" in rule]
    assert "{{ $labels" not in first["annotations"]["description"] + first["labels"]["objective"]


def test_a_runbook_of_its_own_is_named(tmp_path: Path) -> None:
    named = "metadata: {name: upload-availability, annotations: {slo-harness/runbook-url: 'https://example.com/r'}}"
    made = rules(tmp_path, RATIO, "metadata: {name: upload-availability}", named)
    assert {rule["annotations"]["runbook_url"] for rule in made.groups[0]["rules"] if "alert" in rule} == {
        "https://example.com/r"
    }
