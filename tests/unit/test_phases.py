"""What is judged is the steady phase as it was, and nothing before or after it."""

from __future__ import annotations

from harness.model.phases import Timeline

SECOND = 10**9


def test_the_warm_up_is_left_out_by_declaration() -> None:
    planned = Timeline.planned(100 * SECOND, 3 * SECOND, 17 * SECOND)
    assert [(one.name, one.judged, one.seconds) for one in planned.phases] == [
        ("warmup", False, 3.0),
        ("steady", True, 17.0),
    ]
    assert planned.steady_wall_ns == (103 * SECOND, 120 * SECOND)


def test_without_a_warm_up_there_is_no_such_phase() -> None:
    assert [one.name for one in Timeline.planned(0, 0, SECOND).phases] == ["steady"]


def test_a_phase_that_ended_early_is_as_long_as_it_was() -> None:
    ended = Timeline.planned(0, 3 * SECOND, 17 * SECOND).ended(10 * SECOND, 12 * SECOND)
    assert [(one.name, one.seconds) for one in ended.phases] == [("warmup", 3.0), ("steady", 7.0), ("drain", 2.0)]
    assert Timeline.from_dict(ended.as_dict()) == ended
