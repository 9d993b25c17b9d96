"""Who sits where in a closed load; tests/integration/test_load_executors.py has the users themselves."""

from __future__ import annotations

import pytest

from harness.load.user_pool import seats_by_weight


@pytest.mark.parametrize("weights", [[1.0], [3.0, 1.0], [1.0, 1.0, 2.5], [0.1, 0.7]])
def test_classes_are_in_proportion_at_every_level(weights: list[float]) -> None:
    seats = seats_by_weight(weights, 60)
    for level in range(1, 61):
        for one, weight in enumerate(weights):
            assert abs(seats[:level].count(one) - level * weight / sum(weights)) < 1, (level, one)


def test_the_heaviest_class_sits_first() -> None:
    assert seats_by_weight([1.0, 3.0], 4) == [1, 0, 1, 1]
