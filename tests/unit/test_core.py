"""Outcomes, durations and the event file."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.duration import format_duration, parse_duration
from harness.core.outcome import ExitCode, Outcome, exit_code, worst
from harness.core.size import parse_size
from harness.model.events import LogEvent, PhaseEvent
from harness.results.events import EventWriter, read_events
from harness.results.rundir import RunDir


def test_the_worst_outcome_wins_in_the_order_of_the_contract() -> None:
    order = ["interrupted", "usage", "fail", "error", "no-data", "inconclusive", "not-validated", "pass"]
    for at, outcome in enumerate(order):
        assert worst(map(Outcome, order[at:])) == outcome


def test_nothing_judged_never_passes() -> None:
    assert worst([]) is Outcome.NO_DATA
    assert exit_code(worst([])) is ExitCode.UNDECIDED


def test_only_a_pass_exits_with_zero() -> None:
    assert [outcome for outcome in Outcome if exit_code(outcome) == 0] == [Outcome.PASS]


@pytest.mark.parametrize(
    ("text", "ns"), [("200ms", 200_000_000), ("1m30s", 90_000_000_000), ("1.5s", 1_500_000_000), ("2h", 7_200 * 10**9)]
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5s ", "-5s", "5sec", "1q"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("64kB", 64_000), ("256MB", 256_000_000), ("1.5GiB", 3 << 29), ("4KiB", 4096)]
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "MB", "5 MB", "-5MB", "5mb", "5TB", "1e3MB", "9" * 5000 + "B", "2000000GiB"])
def test_not_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a size|more than a PiB"):
        parse_size(text)


def test_durations_read_back() -> None:
    assert [format_duration(ns) for ns in (45e9, 0.0123e9, 90e9, 150e9, 7200e9)] == [
        "45s",
        "12.3ms",
        "90s",
        "2.5m",
        "2h",
    ]


def test_events_of_several_producers_are_merged_in_order_and_a_cut_line_is_left_out(tmp_path: Path) -> None:
    seen: list[str] = []
    one, two = EventWriter(tmp_path, "one"), EventWriter(tmp_path, "two")
    one.handlers.append(lambda event: seen.append(event.kind))
    one.emit(PhaseEvent("warmup", "begin", 5.0))
    two.emit(LogEvent("info", "hello"))
    one.emit(PhaseEvent("warmup", "end", 5.0))
    one.close()
    two.close()
    with (tmp_path / "two.jsonl").open("ab") as half:
        half.write(b'{"kind":"log","mono')
    assert [(event["producer"], event["seq"], event["kind"]) for event in read_events(tmp_path)] == [
        ("one", 0, "phase"),
        ("two", 0, "log"),
        ("one", 1, "phase"),
    ]
    assert seen == ["phase", "phase"]


def test_the_latest_run_is_linked(tmp_path: Path) -> None:
    RunDir.create(tmp_path, "first")
    second = RunDir.create(tmp_path, "second")
    assert (tmp_path / "latest").resolve() == second.path.resolve()
    second.write("plan.json", {"b": 1, "a": [1.5]})
    assert (second.path / "plan.json").read_text() == '{\n  "a": [\n    1.5\n  ],\n  "b": 1\n}\n'


def test_a_very_long_number_is_no_duration_at_once() -> None:
    """With a pattern that is tried at every digit this would take an hour."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration("9" * 300_000)
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration("9" * 400 + "s")
