"""The fault catalogue: which series changed most, what is new in the logs, and the page made of it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.core.jsonio import write_json
from harness.gate.catalogue_client import seconds_of_windows
from harness.gate.catalogue_logs import LogWatch, level_and_message, summary
from harness.gate.catalogue_metrics import rank
from harness.report.catalogue import command, noticed
from harness.report.catalogue import entry as written
from harness.report.catalogue_files import write_page
from harness.report.catalogue_svg import timeline_svg
from harness.stack.logs import LoggedStack
from harness.telemetry.metrics_port import Samples

WINDOWS = {"before": (0.0, 10.0), "during": (10.0, 20.0), "after": (20.0, 30.0)}


def series(name: str, value: Callable[[int], float | None], job: str = "app", **labels: str) -> Samples:
    """A sample a second; None leaves one out."""
    points = [(float(at), found) for at in range(31) if (found := value(at)) is not None]
    return Samples({"__name__": name, "job": job, **labels}, points)


def step(before: float, during: float, after: float) -> Callable[[int], float]:
    return lambda at: before if at <= 10 else during if at <= 20 else after


# metrics


def test_a_gauge_that_changed_is_told_with_its_three_values() -> None:
    (found,) = rank([series("queue", step(4, 40, 5))], WINDOWS, (), 5)
    assert (found.name, found.how, found.before, found.during, found.after) == ("queue", "value", 4, 40, 5)


def test_a_counter_is_told_as_a_rate_also_over_a_restart() -> None:
    def value(at: int) -> float:
        return at if at <= 10 else 8 * (at - 10)  # born anew at 10, where it began at 0

    (found,) = rank([series("done_total", value)], WINDOWS, (), 5)
    assert found.how == "rate"
    assert (found.before, found.during) == (pytest.approx(1), pytest.approx(8))


def test_a_sum_and_its_count_are_told_as_a_mean() -> None:
    total = series("seconds_sum", lambda at: 0.1 * at if at <= 10 else 1 + (at - 10) * 1.0)
    found = rank([total, series("seconds_count", lambda at: at)], WINDOWS, (), 5)
    assert [(one.name, one.how) for one in found] == [("seconds", "mean")]
    assert (found[0].before, found[0].during) == (pytest.approx(0.1), pytest.approx(1))


def test_a_mean_of_what_happened_only_meanwhile_says_nothing() -> None:
    total = series("seconds_sum", lambda at: max(0, at - 12) * 0.1)
    found = rank([total, series("seconds_count", lambda at: max(0, at - 12))], WINDOWS, (), 5)
    assert [one.how for one in found] == ["rate"]


def test_what_changes_no_more_than_its_noise_is_not_told() -> None:
    noisy = series("noisy", lambda at: [1, 9][at % 2] * (1 + (10 < at <= 20)))
    once = series("once", lambda at: 1 if at == 15 else 0)
    born = series("born", lambda at: None if at <= 10 else 0)
    not_a_number = series("nan", lambda _: float("nan"))
    assert rank([noisy, once, born, not_a_number], WINDOWS, (), 5) == []


def test_a_series_that_is_born_with_the_fault_is_told() -> None:
    (found,) = rank([series("refused_total", lambda at: None if at <= 10 else 3 * (at - 10))], WINDOWS, (), 5)
    assert (found.before, found.during) == (None, pytest.approx(3))


def test_jobs_that_matter_lead_and_a_metric_is_told_once() -> None:
    found = rank(
        [
            series("other", step(1, 9, 1), job="other"),
            series("failed_total", lambda at: max(0, at - 10) * 5, kind="a"),
            series("failed_total", lambda at: max(0, at - 10), kind="b"),
        ],
        WINDOWS,
        ("app",),
        5,
    )
    assert [(one.job, one.labels) for one in found] == [("app", {"kind": "a"}), ("other", {})]


def test_series_that_are_gone_together_are_told_in_one() -> None:
    lost = [series(f"of_it_{number}", lambda at: None if 10 < at <= 20 else 1) for number in range(7)]
    (found,) = rank(lost, WINDOWS, (), 5)
    assert (found.job, found.name, found.during, found.after) == ("app", "series without samples", 7, 0)


# logs


@pytest.mark.parametrize(("line", "expected"), [
    ('{"level":"ERROR","message":"search","error":"milvus 10.0.0.1 gone"}', ("error", "search: milvus N.N gone")),
    ('level=warn ts=2026-11-24T10:00:00.1Z msg="late by 3 s" err="x"', ("warning", "late by N s: x")),
    ("2026-11-24 10:00:00.123 UTC [71] ERROR:  deadlock detected", ("error", "TIME [N] ERROR: deadlock detected")),
    ("[2026/11/24 10:00:00.123 +00:00] [WARN] [proxy/impl.go:99] [slow]", ("warning",)),
    ("nothing of the kind", ("other", "nothing of the kind")),
    ("{not json", ("other", "{not json")),
])  # fmt: skip
def test_a_line_has_a_level_and_a_message_without_its_numbers(line: str, expected: tuple[str, ...]) -> None:
    level, message = level_and_message(line)
    if len(expected) == 1:
        assert (level,) == expected
    else:
        assert level == expected[0]
        assert message.replace("N.N.N", "N.N") == expected[1]


def test_logs_are_counted_between_marks_and_the_new_message_is_named(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("INFO: old\n")
    watch = LogWatch(LoggedStack(tmp_path, leased=True, ready_wall_ns=0, unavailable={}))
    watch.mark()
    usual = "ERROR: usual 1\n"
    for text in (usual, f"{usual * 3}ERROR: broke 1\nERROR: broke 2\nINFO: new\n", "INFO: old\n"):
        with log.open("a") as file:
            file.write(text)
        watch.mark()
    found = summary(watch.read((("before", 0, 1), ("during", 1, 2), ("after", 2, 3))))
    during = {"info": 1, "error": 5}
    assert found["services"] == {"app": {"before": {"error": 1}, "during": during, "after": {"info": 1}}}
    assert found["new"] == [{"service": "app", "level": "error", "message": "ERROR: broke N", "lines": 2}]


# clients


def test_a_second_in_which_it_ends_is_nobodys() -> None:
    windows = {"before": (0.0, 9.4), "during": (9.9, 17.6), "after": (18.2, 27.0)}
    assert seconds_of_windows(windows) == {"before": (0, 9), "during": (9, 17), "after": (19, 27)}


def part(count: int = 100, p50: float | None = 5.0, p99: float | None = 9.0, **errors: int) -> dict[str, Any]:
    return {"count": count, "p50_ms": p50, "p99_ms": p99, "errors": errors}


@pytest.mark.parametrize(("before", "during", "after", "said"), [
    (part(), part(), part(), "nothing"),
    (part(), part(p99=30), part(), "nothing"),
    (part(), part(p50=8.0), part(), "nothing"),
    (part(), part(p50=105.0), part(p50=110.0), "nothing"),
    (part(), part(p50=105.0), part(), "search: p50 5.0 ms -> 105 ms"),
    (part(), part(p99=400.0), part(), "search: p99 9.0 ms -> 400 ms"),
    (part(), part(http_503=100), part(), "search: 100% fail (http_503)"),
    (part(), part(timeout=10, reset=20), part(reset=9), "search: 30% fail (reset); afterwards search still fail"),
    (part(count=0, p50=None, p99=None), part(count=0, p50=None, p99=None), part(), "nothing"),
])  # fmt: skip
def test_what_clients_notice_is_made_of_the_numbers(before: Any, during: Any, after: Any, said: str) -> None:
    phases = {"before": before, "during": during, "after": after}
    assert noticed({"unmet": "", "client": {"all": phases, "search": phases}}).startswith(said)
    unmet = {"unmet": "held: 0", "client": {"all": phases, "search": phases}}
    assert noticed(unmet).startswith("nothing: no connection")


# the page


def entry(fault: str, **more: Any) -> dict[str, Any]:
    phases = {"before": part(), "during": part(p50=105.0, timeout=3), "after": part()}
    second = {"second": 0, "count": 20, "p50_ms": 5.0, "p99_ms": None, "errors": 2}
    changed = {"job": "app", "name": "up", "labels": {"a": "x|y"}, "how": "value", "before": 1.0, "during": None}
    return {
        "fault": fault, "parameters": {"link": "app->milvus", "delay": "100ms"}, "touches": ["link app->milvus"],
        "rate": 20.0, "load_average": 1.5, "how": {"begin": "an echo was late", "end": "it was not"},
        "unmet": "", "counters": {},
        "windows": {"fault": [6.0, 14.0]}, "client": {"all": phases, "search": phases}, "timeline": [second],
        "metrics": {"changed": [{**changed, "after": 2e6, "change": 1.0}], "missing": ""},
        "logs": {"services": {"app": {"before": {}, "during": {"error": 3}, "after": {}}},
                 "new": [{"service": "app", "level": "error", "message": "a `b`", "lines": 3}]},
        **more,
    }  # fmt: skip


def test_the_page_has_a_row_and_a_section_for_each_and_says_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    out.mkdir()
    write_json(out / "latency.json", entry("latency"))
    write_json(out / "pause.json", {"fault": "pause", "missing": "there is | none"})
    text = write_page(out).read_text()
    assert "| [latency](#latency) on app->milvus | search: 3% fail (timeout) |" in text
    assert "| pause | *not measured: there is \\| none* |" in text
    assert '| app | `up{a="x\\|y"}` |  | 1 | - | 2,000,000 |' in text
    assert "- app, 3 lines of level error: `a 'b'`" in text
    assert "shared cores at a load average of 1.5 to 1.5" in text
    assert "  - latency: {link: app->milvus, delay: 100ms}\n" in text
    assert "![latency](catalogue/latency.svg)" in text
    ElementTree.parse(out / "latency.svg")


def test_the_command_is_one_that_can_be_typed() -> None:
    typed = command("latency", {"link": "app->milvus", "delay": "100ms"})
    assert typed == "harness fault latency --link 'app->milvus' 100ms --for 30s"


def test_the_picture_is_well_formed_whatever_there_is_in_it() -> None:
    none = {"count": 0, "p50_ms": None, "p99_ms": None, "errors": 7}
    some = {"count": 5, "p50_ms": 0.2, "p99_ms": 4e4, "errors": 0}
    for seconds in ([], [{"second": 0, **none}], [{"second": at, **(some if at % 3 else none)} for at in range(40)]):
        picture = ElementTree.fromstring(timeline_svg("a->b & <c>", seconds, (1.0, 50.0)))
        lines = [one.get("points") for one in picture.iter("{http://www.w3.org/2000/svg}polyline")]
        assert len(lines) == (26 if len(seconds) == 40 else 0)
        assert "a->b & <c>" in {one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")}


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        ("reset", {"link": "app->redis", "new": False}),
        ("latency", {"link": "app->milvus", "delay": "100ms", "jitter": "1.5ms"}),
        ("corrupt", {"link": "app->redis", "rate": 0.001}),
        ("postgres-lock", {"table": "public.a table: 'x'"}),
        ("redis-memory", {}),
    ],
)
def test_an_entry_of_the_page_is_one_of_a_validation(fault: str, parameters: dict[str, Any]) -> None:
    assert YAML(typ="safe").load(written(fault, parameters)) == {fault: parameters}
