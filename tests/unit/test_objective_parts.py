"""Time slices and sliding windows on evidence made by hand: no part without data is good, and no crash hides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.jsonio import canonical
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.openslo import Objective, objective_from_dict
from harness.slo.objectives import Window, collect_objective, judge_objective
from harness.slo.objectives_collect import part_ends
from harness.telemetry.metrics_port import Instant, QueryFailed, Range, Samples, Target

START, SECONDS = 1_000, 60
GOOD_TOTAL = {"good": "g", "total": "t"}
Values = Callable[[float, float], float | None]  # of the window between two times after START; None: no series


def objective(**changes: Any) -> Objective:
    ratio = "value" not in changes.get("queries", GOOD_TOTAL)
    plain: dict[str, Any] = {
        "id": "objectives/slo/0",
        "slo": "slo",
        "kind": "ratio" if ratio else "threshold",
        "queries": GOOD_TOTAL,
        "operator": ">=",
        "target": 0.9,
        "unit": "%",
        "counter": ratio,
        "service": "",
        "description": "",
        "window": "",
    }
    return objective_from_dict({**plain, **changes})


def slices(operator: str = "", value: float | None = None, share: float | None = None, length: int = 10) -> Any:
    return {"length_ns": length * 1_000_000_000, "operator": operator, "value": value, "share": share}


def sliding(seconds: int = 10) -> int:
    return seconds * 1_000_000_000


class Store:
    """A store with one target that was scraped every second, on the half second, and a function for the query."""

    def __init__(self, raw: Mapping[str, Sequence[float | None]], value: Values = lambda start, end: None) -> None:
        """raw: what was seen at each scrape from 3 s before the steady phase on; None: the scrape failed."""
        self._raw, self._value, self.asked = raw, value, 0

    def targets(self) -> list[Target]:
        return [Target("app", "a:1", 1.0, "up")]

    def raw(self, selector: str, start_ns: int, end_ns: int) -> Range:
        samples = [(START - 3 + at + 0.5, v) for at, v in enumerate(self._raw[selector]) if v is not None]
        labels = {"job": "app", "instance": "a:1"}
        return Range([Samples(labels, [(t, v) for t, v in samples if start_ns / 1e9 <= t <= end_ns / 1e9])])

    def range(self, query: str, start_ns: int, end_ns: int, step: float) -> Range:
        self.asked += 1
        length = float(query.partition("[")[2].partition("s")[0] or 0)
        samples = []
        for at in range(start_ns // 1_000_000, end_ns // 1_000_000 + 1, round(step * 1000)):
            value = self._value(at / 1000 - START - length, at / 1000 - START)
            samples += [] if value is None else [(at / 1000, value)]
        return Range([Samples({}, samples)] if samples else [])

    def instant(self, query: str, at_ns: int | None = None) -> Instant | QueryFailed:
        raise AssertionError("parts are not asked for one instant")

    def wait_for_sample(self, *_: Any, **__: Any) -> bool:
        return True

    def buildinfo(self) -> str:
        return "0"


def counter(*rises: tuple[int, float]) -> list[float | None]:
    """(seconds, rise in each), from the begin of the steady phase on; before it, nothing rose."""
    values: list[float | None] = [0.0, 0.0, 0.0]
    now = 0.0
    for seconds, rise in rises:
        for _ in range(seconds):
            now += rise
            values.append(now)
    return values


def judged(promise: Objective, store: Store, seconds: int = SECONDS) -> Finding:
    """By way of JSON, as the evidence comes back from the run directory."""
    evidence = collect_objective(store, promise, Window(START * 10**9, (START + seconds) * 10**9))
    return judge_objective(promise, json.loads(canonical(evidence)))


STEADY = counter((SECONDS, 100.0))
ALWAYS_UP = {"m": [1.0] * 63}


def test_the_last_part_ends_with_the_phase_and_nothing_is_left_out() -> None:
    assert part_ends(0, 60, 20, 20) == [20, 40, 60]
    assert part_ends(0, 70, 20, 20) == [20, 30, 50, 70]
    assert part_ends(0, 12, 10, 1) == [10, 11, 12]
    assert part_ends(0, 25, 10, 10) == [10, 15, 25]
    assert part_ends(0, 9, 10, 10) == []


def test_a_crash_at_the_end_hides_in_the_average_and_not_in_a_window() -> None:
    raw = {"g": counter((594, 100.0), (6, 0.0)), "t": counter((600, 100.0))}
    assert judged(objective(), WholeStore(raw), 600).outcome is Outcome.PASS
    found = judged(objective(sliding_ns=sliding()), Store(raw), 600)
    assert (found.outcome, found.observed) == (Outcome.FAIL, 0.4)
    assert "in the window from 590 s to 600 s of the steady phase: observed 40 % (400 of 1000)" in found.reason
    assert found.interval is not None


class WholeStore(Store):
    """Asked for the whole of the phase alone."""

    def instant(self, query: str, at_ns: int | None = None) -> Instant | QueryFailed:
        return Instant([])


def test_windows_pass_where_each_decides_and_are_open_where_one_does_not() -> None:
    found = judged(objective(sliding_ns=sliding(), target=0.99), Store({"g": STEADY, "t": STEADY}))
    assert (found.outcome, found.observed, found.samples, found.reason) == (Outcome.PASS, 1.0, 51, "")
    assert "worst, in the window from" in found.evidence["evidence/metrics/slo.0.json"]
    few = counter((SECONDS, 20.0))
    found = judged(objective(sliding_ns=sliding(), target=0.99), Store({"g": few, "t": few}))
    assert (found.outcome, found.slug) == (Outcome.INCONCLUSIVE, "not-decided")
    assert "its events do not decide, 1.9 times as many would" in found.reason


def test_one_bad_window_of_many_is_no_failure_by_chance() -> None:
    """83 of 100 against 90 %: outside at 95 % by itself is not outside when there are 51 windows."""
    total = counter((SECONDS, 10.0))
    good = counter((50, 10.0), (10, 8.3))
    found = judged(objective(sliding_ns=sliding(), target=0.9), Store({"g": good, "t": total}))
    assert found.outcome is Outcome.INCONCLUSIVE, found.reason
    assert found.observed == pytest.approx(0.83)


def test_a_window_with_too_few_scrapes_is_no_data() -> None:
    gone: list[float | None] = [*STEADY[:59], None, None, None, *STEADY[62:]]  # 3 of the last 10, 3 of all 60
    found = judged(objective(sliding_ns=sliding()), Store({"g": gone, "t": gone}))
    assert found.outcome is Outcome.NO_DATA
    assert found.reason == (
        "the window from 49 s to 59 s of the steady phase: samples of g at 7 of 10 scrapes of app (a:1), 80% are wanted"
    )
    failing = counter((30, 100.0), (10, 0.0), (20, 100.0))
    failing = [*failing[:59], None, None, None, *failing[62:]]
    assert judged(objective(sliding_ns=sliding()), Store({"g": failing, "t": gone})).outcome is Outcome.FAIL


def test_a_window_without_an_event_is_no_data() -> None:
    quiet = counter((20, 100.0), (12, 0.0), (28, 100.0))
    found = judged(objective(sliding_ns=sliding()), Store({"g": quiet, "t": quiet}))
    assert found.outcome is Outcome.NO_DATA
    assert "0/0: the total did not move in it" in found.reason


def latency(value: Values) -> Finding:
    promise = objective(
        queries={"value": "max_over_time(m[$window])"}, operator="<", target=0.25, unit="s", sliding_ns=sliding()
    )
    return judged(promise, Store(ALWAYS_UP, value))


def test_a_threshold_must_hold_in_every_window() -> None:
    found = latency(lambda start, end: 0.1 + end / 1000)
    assert (found.outcome, found.observed, found.interval) == (Outcome.PASS, pytest.approx(0.16), None)
    found = latency(lambda start, end: 0.9 if end > 59 else 0.1)
    assert (found.outcome, found.observed) == (Outcome.FAIL, 0.9)
    assert found.reason == (
        "in the window from 50 s to 60 s of the steady phase: observed 0.9 s, target < 0.25 s, over by 260 %"
    )


@pytest.mark.parametrize("hole", [None, float("nan"), float("inf")])
def test_a_window_whose_query_gave_no_number_is_no_data(hole: float | None) -> None:
    found = latency(lambda start, end: hole if 30 <= end < 31 else 0.1)
    assert (found.outcome, found.observed) == (Outcome.NO_DATA, None)
    assert found.reason.startswith("the window from 20 s to 30 s of the steady phase: ")


def test_a_long_run_is_asked_in_pieces_that_prometheus_answers() -> None:
    seconds = 20_000
    store = Store({"m": [1.0] * (seconds + 3)}, lambda start, end: 0.1)
    promise = objective(queries={"value": "max_over_time(m[$window])"}, operator="<", target=0.25, sliding_ns=sliding())
    evidence = collect_objective(store, promise, Window(START * 10**9, (START + seconds) * 10**9))
    assert store.asked == 2
    assert len(evidence["queries"]["value"]["range"][0]["samples"]) == seconds - 10 + 1


def test_slices_are_good_by_their_own_ratio() -> None:
    promise = objective(slices=slices(">=", 0.95), target=0.8)
    good = counter((50, 100.0), (10, 90.0))
    found = judged(promise, Store({"g": good, "t": STEADY}))
    assert (found.outcome, found.samples, found.interval) == (Outcome.PASS, 6, None)
    assert found.observed == pytest.approx(5 / 6)
    found = judged(objective(slices=slices(">=", 0.95), target=0.99), Store({"g": good, "t": STEADY}))
    assert (found.outcome, found.samples) == (Outcome.FAIL, 6)
    assert found.reason == (
        "observed 83.3333 % (5 of 6 slices of 10s good), target >= 99 %, under by 15.7 percentage points; "
        "the first bad one from 50 s to 60 s of the steady phase: 0.9 (900 of 1000), wanted >= 0.95"
    )


def test_the_rest_of_a_phase_is_judged_in_a_slice_that_overlaps() -> None:
    good = counter((2, 0.0), (53, 100.0))
    promise = objective(slices=slices(">=", 0.95), target=0.99)
    found = judged(promise, Store({"g": good, "t": counter((55, 100.0))}), 55)
    assert (found.outcome, found.samples) == (Outcome.FAIL, 6)
    assert "from 0 s to 10 s" in found.reason


def test_a_slice_without_data_is_never_good() -> None:
    promise = objective(slices=slices(">=", 0.95), target=0.5)
    quiet = counter((50, 100.0), (10, 0.0))
    found = judged(promise, Store({"g": quiet, "t": quiet}))
    assert (found.outcome, found.observed) == (Outcome.NO_DATA, None)
    assert found.reason == (
        "1 of 6 slices without data, the first from 50 s to 60 s of the steady phase: "
        "0/0: the total did not move in it, there was no event to judge"
    )
    bad = counter((40, 0.0), (20, 100.0))
    total = counter((50, 100.0), (10, 0.0))
    found = judged(
        objective(slices=slices(">=", 0.95), target=0.5), Store({"g": [*bad[:53], *[bad[52]] * 10], "t": total})
    )
    assert found.outcome is Outcome.FAIL  # whatever the slice without data would have been
    assert found.reason.endswith("; 1 more without data")


def test_slices_of_a_threshold_are_good_at_their_ends() -> None:
    promise = objective(queries={"value": "max_over_time(m[$window])"}, slices=slices("<", 0.25), target=0.8)
    found = judged(promise, Store(ALWAYS_UP, lambda start, end: 0.3 if end == 30 else 0.1))
    assert (found.outcome, found.samples) == (Outcome.PASS, 6)
    found = judged(promise, Store(ALWAYS_UP, lambda start, end: 0.3 if end in (30, 60) else 0.1))
    assert found.outcome is Outcome.FAIL
    assert found.reason.endswith("the first bad one from 20 s to 30 s of the steady phase: 0.3, wanted < 0.25")


def test_slices_without_a_window_are_good_by_their_moments() -> None:
    promise = objective(queries={"value": "m"}, slices=slices("<", 20, share=0.8), target=0.99)
    found = judged(promise, Store(ALWAYS_UP, lambda start, end: 30 if end in (31, 32) else 10))
    assert found.outcome is Outcome.PASS, found.reason
    found = judged(promise, Store(ALWAYS_UP, lambda start, end: 30 if end in (31, 32, 33) else 10))
    assert found.outcome is Outcome.FAIL
    assert found.reason.endswith(
        "from 30 s to 40 s of the steady phase: < 20 at 7 of 10 moments, wanted at 80 % of them"
    )
    found = judged(promise, Store(ALWAYS_UP, lambda start, end: None if end == 31 else 10))
    assert found.outcome is Outcome.NO_DATA


def test_ratio_timeslices_weigh_a_quiet_slice_as_much_as_a_busy_one() -> None:
    promise = objective(slices=slices(), target=0.8)
    total = counter((50, 1000.0), (10, 10.0))
    good = counter((50, 1000.0), (10, 0.0))  # all events of the quiet slice failed: 5/6, though 99.8 % are good
    found = judged(promise, Store({"g": good, "t": total}))
    assert found.observed == pytest.approx(5 / 6)
    assert found.interval is not None
    assert found.interval[0] < 5 / 6 < found.interval[1]
    assert judged(objective(slices=slices(), target=0.98), Store({"g": good, "t": total})).outcome is Outcome.FAIL
    few = counter((60, 1.0))
    undecided = judged(objective(slices=slices(), target=0.99), Store({"g": few, "t": few}))
    assert undecided.outcome is Outcome.INCONCLUSIVE
    assert "6 slices do not decide, about" in undecided.reason


def test_slices_of_equal_traffic_have_the_interval_of_all_events() -> None:
    good = counter((30, 100.0), (30, 99.0))
    raw = {"g": good, "t": STEADY}
    whole, mean = judged(objective(), WholeStore(raw)), judged(objective(slices=slices()), Store(raw))
    assert mean.observed == pytest.approx(whole.observed)
    assert mean.interval == pytest.approx(whole.interval, abs=2e-4)


def test_the_mean_of_a_raw_ratio_is_a_fact() -> None:
    promise = objective(queries={"value": "avg_over_time(m[$window])"}, slices=slices(), target=0.95)
    found = judged(promise, Store(ALWAYS_UP, lambda start, end: 0.7 if end == 60 else 1.0))
    assert (found.outcome, found.observed, found.interval) == (Outcome.PASS, pytest.approx(0.95), None)


def test_a_phase_that_ended_too_soon_is_no_data() -> None:
    found = judged(objective(slices=slices(">=", 0.95)), Store({"g": STEADY, "t": STEADY}), 9)
    assert (found.outcome, found.reason) == (
        Outcome.NO_DATA,
        "the steady phase lasted 9s, and one part of it is 10s",
    )


def test_evidence_of_a_later_version_is_refused() -> None:
    promise = objective(sliding_ns=sliding())
    evidence = collect_objective(Store({"g": STEADY, "t": STEADY}), promise, Window(START * 10**9, 1060 * 10**9))
    with pytest.raises(HarnessError, match="evidence-schema"):
        judge_objective(promise, {**evidence, "schema": 3})
