"""Scores as scikit-learn computes them, and a decline that is found once, and again while it lasts."""

from __future__ import annotations

import random
from dataclasses import astuple

import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from app.feedback import Feedback, UnknownPredictionError
from app.metrics import Metrics
from app.monitor import BATCH, WINDOW, ModelMonitor, RecentPredictions

ACCURACY = 0.9787
DRIFT = "model_drift_detected_total"


def stream(accuracy: float, count: int, seed: int = 3) -> list[tuple[int, int]]:
    """(prediction, label) pairs, so many of them right."""
    source = random.Random(seed)
    pairs = []
    for _ in range(count):
        label = source.randrange(10)
        right = source.random() < accuracy
        pairs.append((label if right else (label + 1 + source.randrange(9)) % 10, label))
    return pairs


@pytest.mark.parametrize("count", [1, 7, WINDOW, 3 * WINDOW])
def test_scores_are_those_of_scikit_learn_over_the_last_500(count: int) -> None:
    monitor = ModelMonitor(10, ACCURACY)
    assert monitor.scores() is None
    pairs = [*stream(0.5, count - 1, seed=count), (9, 9)]
    for pair in pairs:
        monitor.add(*pair)
    predictions, labels = zip(*pairs[-WINDOW:], strict=True)
    expected = precision_recall_fscore_support(labels, predictions, average="macro", zero_division=0)
    scores = monitor.scores()
    assert scores is not None
    assert astuple(scores) == pytest.approx((accuracy_score(labels, predictions), *expected[:3]))


def test_a_model_as_good_as_expected_or_better_raises_no_alarm() -> None:
    for accuracy in (ACCURACY, 1.0):
        monitor = ModelMonitor(10, ACCURACY)
        assert not any(monitor.add(*pair) for pair in stream(accuracy, 100 * BATCH))


def test_a_decline_alarms_at_the_end_of_a_batch_and_again_while_it_lasts_and_then_no_more() -> None:
    monitor = ModelMonitor(10, ACCURACY)
    before = [monitor.add(*pair) for pair in stream(ACCURACY, 20 * BATCH)]
    after = [monitor.add(*pair) for pair in stream(0.85, 20 * BATCH)]
    alarms = [number for number, alarm in enumerate(after, 1) if alarm]
    assert not any(before)
    assert alarms[0] <= 3 * BATCH  # a fall of nine deviations a batch
    assert len(alarms) >= 3
    assert all(number % BATCH == 0 for number in alarms)
    recovered = [monitor.add(*pair) for pair in stream(ACCURACY, 20 * BATCH)]
    assert not any(recovered)  # what was reported is not carried on


def test_an_expectation_of_certainty_still_leaves_room_for_chance() -> None:
    monitor = ModelMonitor(10, expected=1.0)
    assert not any(monitor.add(1, 1) for _ in range(10 * BATCH))
    assert any(monitor.add(1, 2) for _ in range(BATCH))


def test_a_prediction_is_labelled_once_and_the_oldest_are_forgotten() -> None:
    recent = RecentPredictions(size=3)
    for number in range(4):
        recent.add(f"id{number}", number)
    assert recent.take("id1") == 1
    assert recent.take("id1") is None
    recent.add("id4", 4)  # what was labelled goes in its turn, too
    for gone in ("id0", "id1", "nobody"):
        with pytest.raises(KeyError):
            recent.take(gone)
    assert [recent.take(f"id{number}") for number in (2, 3, 4)] == [2, 3, 4]


def test_a_second_label_changes_nothing_and_an_unknown_prediction_is_refused() -> None:
    metrics, recent = Metrics("digits", "v1"), RecentPredictions()
    feedback = Feedback(recent, ModelMonitor(10, ACCURACY), metrics)
    accuracy = {"model_id": "digits", "version": "v1"}
    recent.add("one", 7)
    with pytest.raises(UnknownPredictionError):
        feedback.label("two", 7)
    assert metrics.registry.get_sample_value("model_accuracy", accuracy) is None
    assert feedback.label("one", 7).outcome == "accepted"
    assert feedback.label("one", 3).outcome == "duplicate"
    assert metrics.registry.get_sample_value("model_accuracy", accuracy) == 1


def test_each_alarm_is_counted() -> None:
    metrics, recent = Metrics("digits", "v1"), RecentPredictions()
    feedback = Feedback(recent, ModelMonitor(10, ACCURACY), metrics)
    drifted = 0
    for number in range(10 * BATCH):
        recent.add(str(number), 1)
        drifted += feedback.label(str(number), 1 + number % 2).drift_detected
    assert metrics.registry.get_sample_value(DRIFT, {"model_id": "digits"}) == drifted == 10
