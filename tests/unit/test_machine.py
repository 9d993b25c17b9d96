"""What is the machine's and not the system's: read from recorded texts, judged from recorded evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import __version__
from harness.core.jsonio import canonical, read_json, write_json
from harness.core.outcome import Outcome
from harness.gate.calibrations import VARIABLE, calibration_path, find_calibration, keep
from harness.load.http_client import Moment
from harness.load.recorder import Recorder
from harness.load.reply import Reply
from harness.model.calibration import Calibration, Machine
from harness.model.finding import Finding
from harness.model.histogram import Histogram
from harness.model.load import LoadPlan
from harness.model.machine import MachineRecord, Reading, fold
from harness.model.phases import Timeline
from harness.model.threshold import parse_threshold
from harness.report.calibration import disturbances, numbers
from harness.results.rundir import RunDir
from harness.slo.judge import judge
from harness.slo.machine import MachineState, below_floor, refusals
from harness.stack.machine.identity import cpu_model, read_machine
from harness.stack.machine.watch import jiffies, read_jiffies

MS, SECOND = 1_000_000, 1_000_000_000
ORIGIN = 1_000_000 * SECOND  # on the wall clock
STEADY = 10  # seconds
PLAN = LoadPlan(scenario="s.py", rate=200, warmup_ns=0, duration_ns=STEADY * SECOND, host="http://127.0.0.1")
LINUX = "cpu  1183050 62157 219880 1769346 10552 0 13233 7547 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LINUX, (3265765, 7547)),
        ("cpu  10 0 5 85 0 0 0\n", (100, None)),  # a kernel before 2.6.11
        ("cpu  10 0 5 85 0 0 0 0 999 0\n", (100, 0)),  # guest time stands in user time already
        ("cpu  0 0 0 0 0 0 0 0 0 0\n", (None, None)),  # a sandbox that keeps no account
        ("cpu0 1 2 3 4 5 6 7 8\n", (None, None)),
        ("cpu  1 x 3 4 5 6 7 8\n", (None, None)),
        ("", (None, None)),
    ],
)
def test_jiffies_are_read_or_unknown_and_never_0_for_unknown(text: str, found: tuple[int | None, int | None]) -> None:
    assert jiffies(text) == found


def test_a_kernel_without_the_file_says_nothing(tmp_path: Path) -> None:
    assert read_jiffies(tmp_path / "stat") == (None, None)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: other\n", "AMD EPYC"),
        ("processor\t: 0\nModel\t\t: Raspberry Pi 4\n", "Raspberry Pi 4"),
        ("", ""),
    ],
)
def test_the_processor_has_a_name(text: str, model: str) -> None:
    assert cpu_model(text) == model


def record(
    *,
    steal: float | None = 0.0,
    stalls: Sequence[tuple[float, float]] = (),
    scheduling: str = "fifo",
    seconds: int = STEADY + 2,
    ended: str = "",
) -> MachineRecord:
    """One second before the origin to one after the end, on two processors. stalls: (second, seconds long)."""
    readings = []
    for second in range(-1, seconds):
        wall = ORIGIN + second * SECOND
        total = 200 * (second + 2)
        long = [
            (ORIGIN + round(at * SECOND), round(length * SECOND)) for at, length in stalls if second - 1 <= at < second
        ]
        due, late = long[0] if long else (wall, 30_000)
        stolen = None if steal is None else round(total * steal)
        readings.append(Reading(wall, None if steal is None else total, stolen, 90, late, due))
    return MachineRecord(10 * MS, scheduling, ended, tuple(readings))


def histogram(*values: int) -> Histogram:
    made = Histogram()
    made.record(values)
    return made


def calibration(**changed: Any) -> Calibration:
    """Half a millisecond, and just over one of a hundred took four."""
    noise = histogram(*[500_000] * 593, *[4 * MS] * 7)
    made = Calibration(
        __version__, ORIGIN, read_machine(), 60.0, 10.0, noise, noise, histogram(60_000), histogram(20_000), 0.0
    )
    return replace(made, **changed)


def recorded(
    directory: Path,
    thresholds: Sequence[tuple[str, str]],
    *,
    machine: MachineRecord | None = None,
    floor: Calibration | None = None,
    slow: Sequence[int] = (),
    usual: int = 10 * MS,
) -> RunDir:
    """A run of 2,000 requests of 10 ms; in the seconds `slow` a fifth of them took 300 ms."""
    run = RunDir.create(directory, "recorded")
    recorder = Recorder(run.load / "load-0.jsonl", PLAN)
    recorder.begin(SECOND, "load-0")
    channel = recorder.channel("POST", "search")
    for number in range(PLAN.arrivals):
        due = SECOND + number * SECOND // 200
        latency = 300 * MS if number * SECOND // 200 // SECOND in slow and number % 5 == 0 else usual
        moment = Moment(due, due)
        channel.sent(moment)
        channel.finished(moment, due, due + latency, Reply(200, b"", b"", None, latency))
        if number % 10 == 0:
            recorder.value("first_token_seconds", latency / 1e9, {"name": "search"}, due)
    recorder.end("done")
    load = {"rate": 200, "warmup": 0, "duration": STEADY * SECOND, "maxLateness": 5 * MS}
    run.write("plan.json", {"name": "recorded", "thresholds": thresholds, "objectives": [], "load": load,
                            "allowed_unvalidated": False})  # fmt: skip
    run.write("evidence/phases.json", Timeline.planned(ORIGIN, 0, STEADY * SECOND).as_dict())
    if machine is not None:
        run.write("evidence/machine.json", machine.as_dict())
    if floor is not None:
        run.write("evidence/calibration.json", floor.as_dict())
    return run


def first(run: RunDir) -> Finding:
    """The finding of the only threshold; made twice, with equal bytes."""
    verdict = judge(run)
    assert canonical(verdict.as_dict()) == canonical(judge(RunDir(run.path)).as_dict())
    return verdict.findings[0]


def about_machine(run: RunDir) -> dict[str, Finding]:
    return {one.id.removeprefix("machine/"): one for one in judge(run).findings if one.source == "machine"}


LATENCY = "latency{name:search}"


@pytest.mark.parametrize(
    ("selector", "condition", "usual", "outcome"),
    [
        (LATENCY, "p(99)<5ms", 1 * MS, Outcome.PASS),  # the floor's own p99 is 4 ms
        (LATENCY, "p(99)<3ms", 1 * MS, Outcome.NOT_VALIDATED),  # kept, which this machine cannot show
        (LATENCY, "p(99)<=3ms", 6 * MS, Outcome.NOT_VALIDATED),  # broken by no more than noise adds
        (LATENCY, "p(99)<3ms", 8 * MS, Outcome.FAIL),  # by more than that
        (LATENCY, "avg<400us", 1 * MS, Outcome.FAIL),  # 0.541 ms is the floor of the mean
        (LATENCY, "avg<400us", 900_000, Outcome.NOT_VALIDATED),
        (LATENCY, "avg<600us", 500_000, Outcome.PASS),
        (LATENCY, "max<3ms", 1 * MS, Outcome.NOT_VALIDATED),
        (LATENCY, "count>=2000", 1 * MS, Outcome.PASS),
        (LATENCY, "p(99)>1us", 1 * MS, Outcome.PASS),  # nothing that noise makes harder to show
        ("service_time{name:search}", "p(99)<3ms", 1 * MS, Outcome.NOT_VALIDATED),
        ("first_token_seconds{name:search}", "p(95)<0.4ms", 300_000, Outcome.NOT_VALIDATED),
        ("first_token_seconds{name:search}", "p(95)<0.0004", 300_000, Outcome.NOT_VALIDATED),
        ("errors{name:search}", "rate<1%", 1 * MS, Outcome.PASS),
    ],
)
def test_a_promise_below_the_noise_floor(
    tmp_path: Path, selector: str, condition: str, usual: int, outcome: Outcome
) -> None:
    found = first(recorded(tmp_path, [(selector, condition)], floor=calibration(), usual=usual))
    assert found.outcome is outcome, found.reason
    assert (found.slug == "below-noise-floor") == (outcome is Outcome.NOT_VALIDATED)


def test_a_refusal_names_both_numbers_and_needs_no_run() -> None:
    tight, loose = parse_threshold(LATENCY, "p(99)<3ms"), parse_threshold(LATENCY, "p(99)<5ms")
    assert [one for one, _ in refusals([tight, loose], calibration())] == [tight]
    why = below_floor(tight, calibration())
    assert "p(99)<3ms is tighter than the noise floor of this machine: latency has p(99) = 4ms" in why
    assert "600 requests" in why and "use a quieter machine" in why
    assert below_floor(loose, calibration()) == ""


def test_what_no_sample_was_seen_of_stays_without_data(tmp_path: Path) -> None:
    found = first(recorded(tmp_path, [("latency{name:other}", "p(99)<1ms")], floor=calibration()))
    assert found.outcome is Outcome.NO_DATA


@pytest.mark.parametrize("condition", ["p(99)<100ms", "p(99)<5ms"])  # a pass, a fail
def test_above_five_percent_of_steal_no_latency_is_decided(tmp_path: Path, condition: str) -> None:
    thresholds = [(LATENCY, condition), ("errors{name:search}", "rate<1%"), (LATENCY, "count>=2000")]
    calm = recorded(tmp_path / "calm", thresholds, machine=record(steal=0.04))
    was = first(calm).outcome
    assert was in (Outcome.PASS, Outcome.FAIL) and about_machine(calm)["steal"].outcome is Outcome.PASS
    run = recorded(tmp_path / "robbed", thresholds, machine=record(steal=0.07))
    latency, errors, count = judge(run).findings[:3]
    assert (latency.outcome, latency.slug) == (Outcome.INCONCLUSIVE, "machine-stolen")
    assert "took 7 % of the processors' time" in latency.reason and f"it would be {was}" in latency.reason
    assert (errors.outcome, count.outcome) == (Outcome.PASS, Outcome.PASS)
    assert about_machine(run)["steal"].outcome is Outcome.INCONCLUSIVE
    assert about_machine(run)["steal"].observed == pytest.approx(0.07, abs=0.001)


def test_steal_that_hurts_no_promise_is_only_told(tmp_path: Path) -> None:
    run = recorded(tmp_path, [("errors{name:search}", "rate<1%")], machine=record(steal=0.5))
    found = about_machine(run)["steal"]
    assert (found.outcome, found.reason != "") == (Outcome.PASS, True)


def test_times_of_the_metrics_store_are_latencies_too() -> None:
    state = MachineState(record(steal=0.07), Timeline.planned(ORIGIN, 0, STEADY * SECOND))
    seconds = Finding("objectives/a/b", "prometheus", Outcome.PASS, 0.1, "<", 0.2, "s")
    assert state.objective(seconds).slug == "machine-stolen"
    assert state.objective(replace(seconds, unit="")).outcome is Outcome.PASS
    assert state.objective(replace(seconds, outcome=Outcome.NO_DATA)).outcome is Outcome.NO_DATA


def test_only_what_was_stolen_in_the_steady_phase_counts() -> None:
    calm, robbed = record(steal=0.0), record(steal=0.5)
    late = [*calm.readings[:-1], replace(calm.readings[-1], steal=robbed.readings[-1].steal)]
    machine = replace(calm, readings=tuple(late))
    assert machine.steal(ORIGIN, ORIGIN + STEADY * SECOND) == 0
    assert machine.steal(ORIGIN, ORIGIN + (STEADY + 1) * SECOND) == pytest.approx(1300 / 2200)


def test_counters_that_stand_still_say_nothing() -> None:
    same = record(steal=0.0).readings[0]
    readings = tuple(replace(same, wall_ns=ORIGIN + second * SECOND) for second in range(-1, STEADY + 2))
    assert MachineRecord(10 * MS, "fifo", "", readings).steal(ORIGIN, ORIGIN + STEADY * SECOND) is None


def test_steal_that_the_kernel_keeps_to_itself_is_unknown(tmp_path: Path) -> None:
    run = recorded(tmp_path, [(LATENCY, "p(99)<100ms")], machine=record(steal=None))
    found = about_machine(run)["steal"]
    assert (found.outcome, found.observed) == (Outcome.PASS, None)
    assert found.reason.startswith("unknown")
    assert first(run).outcome is Outcome.PASS


def test_a_stall_that_explains_a_failure_leaves_it_undecided(tmp_path: Path) -> None:
    machine = record(stalls=[(4.6, 0.34)])
    promised = [(LATENCY, "max<100ms")]
    run = recorded(tmp_path / "a", promised, machine=machine, slow=[4])
    found = first(run)
    assert (found.outcome, found.slug) == (Outcome.INCONCLUSIVE, "machine-stalled")
    assert "the machine itself stood still for 340ms at second 4.6" in found.reason
    assert about_machine(run)["stalls"].observed == pytest.approx(0.34)
    elsewhere = first(recorded(tmp_path / "b", promised, machine=machine, slow=[1, 2, 4, 8]))
    assert (elsewhere.outcome, elsewhere.slug) == (Outcome.FAIL, "threshold-missed")
    assert "fails without those seconds too" in elsewhere.reason
    kept = first(recorded(tmp_path / "c", promised, machine=machine))
    assert (kept.outcome, kept.reason) == (Outcome.PASS, "")  # in spite of it


def test_without_priority_a_stall_is_a_remark_for_the_system_may_have_caused_it(tmp_path: Path) -> None:
    machine = record(stalls=[(4.6, 0.34)], scheduling="other")
    found = first(recorded(tmp_path, [(LATENCY, "max<100ms")], machine=machine, slow=[4]))
    assert (found.outcome, found.slug) == (Outcome.FAIL, "threshold-missed")
    assert "a process that only sleeps was kept waiting for 340ms at second 4.6" in found.reason


@pytest.mark.parametrize("stall", [(4.6, 0.009), (-0.5, 0.3), (10.5, 0.3)])  # short, before, after
def test_a_stall_that_cannot_be_why_is_not_named(tmp_path: Path, stall: tuple[float, float]) -> None:
    machine = record(stalls=[stall])
    found = first(recorded(tmp_path, [(LATENCY, "max<50ms")], machine=machine, slow=[4]))
    assert found.outcome is Outcome.FAIL and "stood still" not in found.reason


@pytest.mark.parametrize("machine", [record(ended="killed by SIGKILL"), record(seconds=STEADY - 2)])
def test_a_machine_that_was_not_watched_to_the_end_is_no_data(tmp_path: Path, machine: MachineRecord) -> None:
    run = recorded(tmp_path, [(LATENCY, "p(99)<100ms")], machine=machine)
    found = about_machine(run)["steal"]
    assert (found.outcome, found.slug) == (Outcome.NO_DATA, "machine-unwatched")


def test_a_run_of_a_version_that_did_not_watch_has_no_such_finding(tmp_path: Path) -> None:
    assert about_machine(recorded(tmp_path, [(LATENCY, "p(99)<100ms")])) == {}


def test_the_record_is_what_was_said_and_how_it_ended() -> None:
    lines: list[dict[str, Any]] = [{"period_ns": 5, "scheduling": "other"}]
    lines.append({"wall_ns": 9, "total": 1, "steal": 0, "wakes": 3, "late_ns": 2, "due_wall_ns": 7, "late": [1, 2]})
    assert fold(lines, "killed by SIGKILL").ended == "killed by SIGKILL"
    made = fold([*lines, {"end": True}], "it ended with 0")
    assert (made.ended, made.readings) == ("", (Reading(9, 1, 0, 3, 2, 7),))
    assert MachineRecord.from_dict(made.as_dict()) == made


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"harness": "0.0.1"}, "harness 0.0.1 made it"),
        ({"machine": replace(read_machine(), boot_id="another")}, "started anew"),
        ({"machine": replace(read_machine(), cpus=0.5)}, "another machine (0.5 x"),
        ({"machine": replace(read_machine(), cpu="Z80")}, "Z80"),
    ],
)
def test_a_calibration_holds_for_its_machine_boot_and_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: dict[str, Any], why: str
) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert keep(calibration(**changed)) == calibration_path()
    found = find_calibration()
    assert (found.calibration is None) == (why != "") and why in found.ignored


def test_a_machine_that_does_not_say_which_boot_it_is_uses_none() -> None:
    assert "does not say" in calibration().unfit(Machine("", "AMD", 2.0), __version__)


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"schema": 9}', '{"schema": 1, "machine": {}}'])
def test_a_calibration_that_cannot_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str
) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_calibration().ignored == ""  # there is none
    calibration_path().parent.mkdir(parents=True)
    calibration_path().write_text(damage)
    found = find_calibration()
    assert found.calibration is None and "cannot be read" in found.ignored


def test_a_disturbed_calibration_says_so() -> None:
    assert disturbances(calibration()) == disturbances(calibration(steal=None)) == []
    assert "took more than 5%" in disturbances(calibration(steal=0.06))[0]
    assert "late by 9" in disturbances(calibration(lateness=histogram(9 * MS)))[0]
    told = numbers(calibration(stalls=histogram(20_000, 12 * MS, 40 * MS)))
    assert (told["stalls_over_10ms"], told["stalls"]["max"]) == (2, 0.04)


def test_a_calibration_of_before_is_kept_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "c.json", calibration().as_dict())
    assert Calibration.from_dict(read_json(tmp_path / "c.json")) == calibration()
