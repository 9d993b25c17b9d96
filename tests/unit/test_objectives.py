"""The judge on recorded evidence: what is missing is never a pass, and the reason has the numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from harness.core.jsonio import canonical
from harness.core.outcome import Outcome
from harness.model.openslo import Objective, objective_from_dict
from harness.slo.objectives import judge_objective

START, END = 1_000.0, 1_045.0
TARGETS = [{"job": "app", "instance": "a:1", "interval": 1.0, "health": "up"}]
Series = dict[str, Any]


def objective(kind: str = "threshold", **changes: Any) -> Objective:
    plain: dict[str, Any] = {
        "id": "objectives/slo/0",
        "slo": "slo",
        "kind": kind,
        "queries": {"value": "m"} if kind == "threshold" else {"good": "g", "total": "t"},
        "operator": "<" if kind == "threshold" else ">=",
        "target": 0.25 if kind == "threshold" else 0.9,
        "unit": "s" if kind == "threshold" else "%",
        "counter": kind == "ratio",
        "service": "",
        "description": "",
        "window": "",
    }
    return objective_from_dict({**plain, **changes})


def series(values: Sequence[float | str], start: float = START + 0.5, step: float = 1.0, **labels: str) -> Series:
    times = [start + at * step for at in range(len(values))]
    return {
        "labels": {"job": "app", "instance": "a:1", **labels},
        "samples": [list(pair) for pair in zip(times, values, strict=True)],
    }


def ramp(first: float, last: float, **labels: str) -> Series:
    """A counter scraped every second, from 2.5 s before the window to its end: `first` up to its start, then `last`."""
    return series([first] * 3 + [last] * 45, START - 2.5, 1.0, **labels)


def point(value: float | str, **labels: str) -> dict[str, Any]:
    return {"labels": labels, "value": value, "time": END}


def evidence(
    raw: dict[str, list[Series]],
    instant: dict[str, list[dict[str, Any]]] | None = None,
    *,
    targets: Any = TARGETS,
    failed: Any = None,
) -> dict[str, Any]:
    recorded = {
        "schema": 1,
        "objective": "objectives/slo/0",
        "window": {"start_ns": int(START * 1e9), "end_ns": int(END * 1e9)},
        "targets": targets,
        "queries": {role: {"text": role, "rendered": role, "instant": at} for role, at in (instant or {}).items()},
        "raw": raw,
        "failed": failed,
    }
    return dict(json.loads(canonical(recorded)))  # as it comes back from the run directory


FULL = series([1.0] * 45)


def test_a_threshold_that_holds_passes_with_its_margin() -> None:
    found = judge_objective(objective(), evidence({"m": [FULL]}, {"value": [point(0.2)]}))
    assert (found.outcome, found.observed, found.target, found.unit) == (Outcome.PASS, 0.2, 0.25, "s")
    assert found.margin == pytest.approx(0.2)
    assert (found.samples, found.reason) == (45, "")
    assert list(found.evidence) == ["evidence/metrics/slo.0.json"]


def test_a_threshold_that_fails_says_by_how_much() -> None:
    found = judge_objective(objective(), evidence({"m": [FULL]}, {"value": [point(0.31)]}))
    assert found.outcome is Outcome.FAIL
    assert found.reason == "observed 0.31 s, target < 0.25 s, over by 24 %"
    assert found.margin == pytest.approx(-0.24)


@pytest.mark.parametrize(
    ("operator", "value", "outcome"),
    [
        ("<", 0.25, Outcome.FAIL),
        ("<=", 0.25, Outcome.PASS),
        (">", 0.25, Outcome.FAIL),
        (">=", 0.25, Outcome.PASS),
        (">", 0.26, Outcome.PASS),
        (">=", 0.24, Outcome.FAIL),
    ],
)
def test_the_operators_at_the_limit(operator: str, value: float, outcome: Outcome) -> None:
    found = judge_objective(objective(operator=operator), evidence({"m": [FULL]}, {"value": [point(value)]}))
    assert found.outcome is outcome


def test_a_target_of_zero_is_missed_by_an_amount() -> None:
    found = judge_objective(objective(target=0.0), evidence({"m": [FULL]}, {"value": [point(0.5)]}))
    assert (found.margin, found.reason) == (None, "observed 0.5 s, target < 0 s, over by 0.5 s")


def test_every_series_must_hold_and_the_worst_is_observed() -> None:
    points = [point(0.1, shard="a"), point(0.4, shard="b"), point(0.3, shard="c")]
    found = judge_objective(objective(), evidence({"m": [FULL]}, {"value": points}))
    assert (found.outcome, found.observed) == (Outcome.FAIL, 0.4)
    assert found.reason == 'observed 0.4 s (worst of 3 series, {shard="b"}), target < 0.25 s, over by 60 %'
    lowest = judge_objective(objective(operator=">"), evidence({"m": [FULL]}, {"value": points}))
    assert (lowest.outcome, lowest.observed) == (Outcome.FAIL, 0.1)


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_what_is_no_number_never_passes(operator: str, value: str) -> None:
    for points in ([point(value)], [point(value, a="1"), point(0.25 if "=" in operator else 1.0, a="2")]):
        found = judge_objective(objective(operator=operator), evidence({"m": [FULL]}, {"value": points}))
        assert found.outcome in (Outcome.NO_DATA, Outcome.FAIL)
        if len(points) == 1:
            assert (found.outcome, found.observed) == (Outcome.NO_DATA, None)
            assert f"gave {value}" in found.reason
            assert ("0/0?" if value == "NaN" else "a raw ratio that is not between 0 and 1?") in found.reason


def test_a_series_that_fails_is_a_failure_whatever_the_others_are() -> None:
    points = [point("NaN", a="1"), point(0.4, a="2")]
    assert judge_objective(objective(), evidence({"m": [FULL]}, {"value": points})).outcome is Outcome.FAIL


def test_no_result_is_no_data() -> None:
    found = judge_objective(objective(), evidence({"m": [FULL]}, {"value": []}))
    assert (found.outcome, found.reason) == (
        Outcome.NO_DATA,
        "the query gave no series at the end of the steady phase",
    )


def test_an_absent_series_is_no_data_even_if_the_query_answers() -> None:
    for raw in ([], [series([])], [series([1.0] * 3, START - 3)]):
        found = judge_objective(objective(), evidence({"m": raw}, {"value": [point(0.1)]}))
        assert (found.outcome, found.samples) == (Outcome.NO_DATA, 0)
        assert "no series m in the steady phase" in found.reason


@pytest.mark.parametrize(("kept", "outcome"), [(36, Outcome.PASS), (35, Outcome.NO_DATA)])
def test_four_fifths_of_the_scrapes_must_be_there(kept: int, outcome: Outcome) -> None:
    found = judge_objective(objective(), evidence({"m": [series([1.0] * kept)]}, {"value": [point(0.1)]}))
    assert found.outcome is outcome
    if outcome is Outcome.NO_DATA:
        assert "samples of m at 35 of 45 scrapes of app (a:1), 80% are wanted" in found.reason


def test_one_target_that_was_down_is_seen_behind_one_that_was_up() -> None:
    targets = [*TARGETS, {"job": "app", "instance": "b:1", "interval": 1.0, "health": "down"}]
    raw = [FULL, series([1.0] * 20, instance="b:1")]
    found = judge_objective(objective(), evidence({"m": raw}, {"value": [point(0.1)]}, targets=targets))
    assert found.outcome is Outcome.NO_DATA
    assert "20 of 45 scrapes of app (b:1)" in found.reason


def test_a_series_born_late_on_a_target_that_was_up_does_not_count_as_a_gap() -> None:
    raw = [FULL, series([1.0] * 5, END - 4.5, le="0.1")]
    found = judge_objective(objective(), evidence({"m": raw}, {"value": [point(0.1)]}))
    assert (found.outcome, found.samples) == (Outcome.PASS, 50)


def test_without_a_target_the_usual_distance_of_samples_tells_what_was_due() -> None:
    whole = evidence({"m": [FULL]}, {"value": [point(0.1)]}, targets=[])
    assert judge_objective(objective(), whole).outcome is Outcome.PASS
    gap = series([1.0] * 45)
    gap["samples"] = gap["samples"][:15] + gap["samples"][35:]
    holed = evidence({"m": [gap]}, {"value": [point(0.1)]}, targets=[])
    assert judge_objective(objective(), holed).outcome is Outcome.NO_DATA
    single = evidence({"m": [series([1.0])]}, {"value": [point(0.1)]}, targets=[])
    assert "interval of app (a:1) is not known" in judge_objective(objective(), single).reason


def test_a_ratio_is_the_difference_of_raw_counters() -> None:
    recorded = evidence({"g": [ramp(1000, 1095)], "t": [ramp(2000, 2100)]})
    found = judge_objective(objective("ratio", target=0.85), recorded)
    assert (found.outcome, found.observed, found.operator, found.unit) == (Outcome.PASS, 0.95, ">=", "%")
    assert found.interval == pytest.approx((0.888, 0.978), abs=0.001)  # Wilson's, of 95 of 100
    assert found.samples == 90


def test_a_ratio_that_its_events_do_not_decide_says_how_many_would() -> None:
    recorded = evidence({"g": [ramp(0, 600)], "t": [ramp(0, 600)]})
    found = judge_objective(objective("ratio", target=0.999), recorded)
    assert (found.outcome, found.slug, found.observed) == (Outcome.INCONCLUSIVE, "not-decided", 1.0)
    needed = int(found.reason.rsplit("about ", 1)[1].split()[0])
    assert 3688 <= needed <= 3688 * 1.005  # ln(0.025) / ln(0.999), searched to half a percent


def test_counters_that_are_not_counted_at_the_same_moments_are_not_compared_by_block() -> None:
    """A request under way at a scrape stands in the total alone, and in the next scrape in the good ones alone."""
    total = series([float(10 * at + at % 2) for at in range(48)], START - 2.5)
    good = series([float(10 * at) for at in range(48)], START - 2.5)
    found = judge_objective(objective("ratio", target=0.98), evidence({"g": [good], "t": [total]}))
    assert found.outcome is Outcome.PASS, found.reason


def test_a_ratio_that_fails_shows_its_counts() -> None:
    recorded = evidence({"g": [ramp(0, 6005)], "t": [ramp(0, 6014)]})
    found = judge_objective(objective("ratio", target=0.9995), recorded)
    assert found.outcome is Outcome.FAIL
    assert found.reason == (
        "observed 99.8503 % (6005 of 6014), 95 % interval 99.7158 % to 99.9212 %, target >= 99.95 %, "
        "under by 0.0997 percentage points"
    )


def test_bad_and_total_give_the_share_of_the_rest() -> None:
    queries = {"bad": "b", "total": "t"}
    found = judge_objective(
        objective("ratio", target=0.85, queries=queries), evidence({"b": [ramp(3, 8)], "t": [ramp(0, 100)]})
    )
    assert (found.outcome, found.observed) == (Outcome.PASS, 0.95)
    never = judge_objective(
        objective("ratio", target=0.85, queries=queries), evidence({"b": [ramp(0, 0)], "t": [ramp(0, 100)]})
    )
    assert (never.outcome, never.observed) == (Outcome.PASS, 1.0)


def test_a_restart_in_the_window_counts_from_zero() -> None:
    restarted = series([100.0] * 3 + [130.0] * 20 + [5.0] * 25, START - 2.5)  # +30, then 5 since the restart
    recorded = evidence({"g": [ramp(0, 35)], "t": [restarted]})
    assert judge_objective(objective("ratio"), recorded).observed == 1.0


def test_series_are_summed_and_one_born_in_the_window_counts_from_zero() -> None:
    born = series([7.0] * 10, END - 9.5, code="500")
    recorded = evidence({"g": [ramp(0, 93)], "t": [ramp(0, 93, code="200"), born]})
    assert judge_objective(objective("ratio"), recorded).observed == 0.93


@pytest.mark.parametrize("name", ["begin", "end"])
def test_both_ends_of_the_window_need_a_sample(name: str) -> None:
    cut = series([0.0] + [9.0] * 40, START + 4.5 if name == "begin" else START - 2.5)
    found = judge_objective(objective("ratio"), evidence({"g": [cut], "t": [ramp(0, 10)]}))
    assert found.outcome is Outcome.NO_DATA
    assert found.reason == f"no sample of g from app (a:1) at the {name} of the steady phase"


def test_nothing_of_nothing_is_no_data() -> None:
    found = judge_objective(objective("ratio"), evidence({"g": [ramp(5, 5)], "t": [ramp(5, 5)]}))
    assert (found.outcome, found.reason[:4]) == (Outcome.NO_DATA, "0/0:")


def test_more_good_than_total_is_an_error_of_measurement() -> None:
    found = judge_objective(objective("ratio"), evidence({"g": [ramp(0, 120)], "t": [ramp(0, 100)]}))
    assert found.outcome is Outcome.ERROR
    assert "good is 120 and total 100" in found.reason


def test_a_ratio_without_counters_uses_the_values_at_the_end() -> None:
    instant = {"good": [point(40.0, a="1"), point(55.0, a="2")], "total": [point(100.0)]}
    recorded = evidence({"g": [FULL], "t": [FULL]}, instant)
    assert judge_objective(objective("ratio", counter=False), recorded).observed == 0.95
    for hole in ([], [point("NaN")], [point("+Inf")]):
        broken = evidence({"g": [FULL], "t": [FULL]}, {**instant, "total": hole})
        found = judge_objective(objective("ratio", counter=False), broken)
        assert found.outcome is Outcome.NO_DATA
        assert "the total query gave" in found.reason


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("store-down", Outcome.NO_DATA),
        ("timeout", Outcome.NO_DATA),
        ("http", Outcome.NO_DATA),
        ("partial", Outcome.NO_DATA),
        ("bad-query", Outcome.ERROR),
    ],
)
def test_a_store_that_fails_is_named(kind: str, outcome: Outcome) -> None:
    failed = {"question": "m", "kind": kind, "detail": "why it is so"}
    found = judge_objective(objective(), evidence({}, {"value": [point(0.1)]}, failed=failed))
    assert (found.outcome, found.reason) == (outcome, f"{kind}: why it is so")


def test_the_same_evidence_gives_the_same_bytes() -> None:
    recorded = evidence({"m": [FULL]}, {"value": [point(0.3, b="2", a="1"), point(0.3, a="0", b="9")]})
    turned = json.loads(json.dumps(recorded))
    turned["queries"]["value"]["instant"].reverse()
    first, second = (canonical(judge_objective(objective(), one).as_dict()) for one in (recorded, turned))
    assert first == second
