"""`harness slo budget` against a real Prometheus: one that a week was written into, and one that has just begun."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.core.outcome import Outcome
from harness.model.openslo_slo import load_service_levels
from harness.rules.budgets import Budget, read_budgets
from harness.stack.tools import resolve_tool
from harness.telemetry.metrics import PrometheusStore, QueryFailed
from tests.integration.helpers import ROOT, harness
from tests.integration.test_metrics import await_first_scrape, lab_in

pytestmark = pytest.mark.stack

END = datetime(2026, 3, 8, tzinfo=UTC)
STEP_S = 60
WEEK_S = 7 * 86_400
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {name}}}
spec:
  service: app
  indicator:
    spec:
      ratioMetric:
        counter: true
        {role}: {{metricSource: {{type: Prometheus, spec: {{query: {series}}}}}}}
        total: {{metricSource: {{type: Prometheus, spec: {{query: {total}}}}}}}
  timeWindow: [{{duration: {duration}, {rolls}}}]
  budgetingMethod: {method}
  objectives: [{{displayName: nines, target: {target}{slices}}}]
"""


def write(directory: Path, **given: str) -> Path:
    plain = {"name": "availability", "role": "bad", "series": "bad_total", "total": "all_total", "duration": "7d",
             "rolls": "isRolling: true", "method": "Occurrences", "target": "0.99", "slices": ""}  # fmt: skip
    path = directory / "slo.yaml"
    path.write_text(SLO.format(**{**plain, **given}))
    return path


def week() -> Iterator[str]:
    """A minute has 100 events; in the first six days none is bad, on the seventh 2, in its last hour 10."""
    counts = {"all_total": 0, "bad_total": 0, "late_total": 0, "never_total": 0, "wrong_total": 0, "night_total": 0,
              "stopped_total": 0}  # fmt: skip
    rows: dict[str, list[str]] = {name: [] for name in counts}
    begin = round(END.timestamp()) - WEEK_S - 600
    for time in range(begin, round(END.timestamp()) + 1, STEP_S):
        left = END.timestamp() - time
        for name, value in counts.items():
            if (name != "late_total" or left <= 3 * 86_400) and (name != "stopped_total" or left >= 86_400):
                rows[name].append(f"{name} {value} {time}")
        counts["all_total"] += 100
        counts["late_total"] += 100
        counts["stopped_total"] += 100
        counts["night_total"] += 100 if left > 7_200 else 0
        counts["wrong_total"] += 200
        counts["bad_total"] += 0 if left > 86_400 else 2 if left > 3_600 else 10
    for name, lines in rows.items():
        yield f"# TYPE {name.removesuffix('_total')} counter"
        yield from lines
    yield "# EOF\n"


@contextmanager
def prometheus(directory: Path) -> Iterator[str]:
    """The URL of a Prometheus that scrapes nothing and holds what stands in `directory`/data."""
    tool = resolve_tool("prometheus")
    (directory / "prometheus.yml").write_text("global: {}\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [
        str(tool.path),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--storage.tsdb.retention.time=90y",
    ]
    log = directory / "prometheus.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **tool.env}) as one,
    ):
        store = PrometheusStore(url)
        try:
            wait = threading.Event()
            for _ in range(300):
                if not isinstance(store.instant("vector(1)"), QueryFailed):
                    break
                wait.wait(0.1)
            else:
                raise AssertionError(log.read_text())
            yield url
        finally:
            store.close()
            one.kill()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("week")
    (directory / "week.txt").write_text("\n".join(week()))
    promtool = resolve_tool("promtool")
    arguments = ["tsdb", "create-blocks-from", "openmetrics", "week.txt", "data"]
    done = subprocess.run([promtool.path, *arguments], cwd=directory, env={**os.environ, **promtool.env},
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with prometheus(directory) as url:
        yield url


def ask(url: str, path: Path, at: datetime = END) -> Budget:
    store = PrometheusStore(url)
    try:
        (only,) = read_budgets(store, load_service_levels([path]), at)
    finally:
        store.close()
    return only


def test_a_week_is_added_up(url: str, tmp_path: Path) -> None:
    """3,360 of 1,008,000 events were bad in it: 2,760 in 23 hours at 2 a minute and 600 in the last at 10."""
    found = ask(url, write(tmp_path))
    bad = 23 * 60 * 2 + 60 * 10
    assert found.outcome is Outcome.PASS, found.reason
    assert found.consumed == pytest.approx(bad / (WEEK_S / 60 * 100) / 0.01, rel=0.01)
    assert found.seen == pytest.approx(1, abs=0.01)
    burns = dict(found.burns)
    assert list(burns) == [840, 5_040, 20_160, 60_480]  # 1h, 6h, 1d, 3d of a month
    assert burns[840] == pytest.approx(10, rel=0.02)
    assert burns[5_040] == pytest.approx((24 * 2 + 60 * 10) / 84 / 100 / 0.01, rel=0.02)
    assert found.exhausted_s == pytest.approx((1 - (found.consumed or 0)) * WEEK_S / 10, rel=0.02)


def test_good_and_total_say_the_same(url: str, tmp_path: Path) -> None:
    found = ask(url, write(tmp_path, role="good", series="all_total"))
    assert (found.outcome, found.consumed, found.exhausted_s) == (Outcome.PASS, 0, float("inf"))


def test_an_exhausted_budget_is_a_broken_promise(url: str, tmp_path: Path) -> None:
    path = write(tmp_path, target="0.999")
    found = ask(url, path)
    assert (found.outcome, found.exhausted_s) == (Outcome.FAIL, 0)
    assert found.consumed == pytest.approx(3.333, rel=0.01)
    done = harness("slo", "budget", path.name, "--prometheus", url, "--at", "2026-03-08T00:00:00Z", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "fail: availability/nines: the budget is exhausted: 333" in done.stdout


def test_a_calendar_window_counts_from_its_beginning(url: str, tmp_path: Path) -> None:
    """Two days of four are over: the errors of one of them stand against half of the budget."""
    calendar = "calendar: {startTime: 2026-03-06 00:00:00, timeZone: UTC}"
    found = ask(url, write(tmp_path, duration="4d", rolls=calendar))
    assert found.outcome is Outcome.PASS, found.reason
    assert found.consumed == pytest.approx(3_360 / (2_880 * 100) / 0.01 / 2, rel=0.01)
    early = ask(url, write(tmp_path, duration="4d", rolls=calendar), datetime(2026, 3, 1, tzinfo=UTC))
    assert (early.outcome, early.reason[:38]) == (Outcome.NO_DATA, "the window begins on 2026-03-06T00:00:")


def test_time_slices_are_counted_by_the_slice(url: str, tmp_path: Path) -> None:
    """A minute with 5 % errors is bad: sixty of a week's 10,080."""
    slices = ", timeSliceTarget: 0.95, timeSliceWindow: 2m"
    found = ask(url, write(tmp_path, method="Timeslices", slices=slices))
    assert found.outcome is Outcome.PASS, found.reason
    assert found.consumed == pytest.approx(60 / 10_080 / 0.01, rel=0.05)
    average = ask(url, write(tmp_path, method="RatioTimeslices", slices=", timeSliceWindow: 2m"))
    assert average.consumed == pytest.approx(3_360 / 1_008_000 / 0.01, rel=0.02)


@pytest.mark.parametrize(
    ("given", "outcome", "reason"),
    [
        ({"series": "gone_total"}, Outcome.NO_DATA, "no data over 7d: no series gone_total"),
        ({"total": "never_total", "series": "never_total"}, Outcome.NO_DATA, "0/0 over 7d"),
        (
            {"total": "stopped_total", "series": "never_total"},
            Outcome.INCONCLUSIVE,
            "no data over 14m: no series stopped_",
        ),
        ({"total": "late_total"}, Outcome.INCONCLUSIVE, "the store has seen 43"),
        ({"series": "wrong_total"}, Outcome.ERROR, "the error ratio over 7d is 2"),
        ({"duration": "28d"}, Outcome.INCONCLUSIVE, "the store has seen 25"),
    ],
)
def test_what_is_not_known_is_said(
    url: str, tmp_path: Path, given: dict[str, str], outcome: Outcome, reason: str
) -> None:
    found = ask(url, write(tmp_path, **({"target": "0.9"} | given)))
    assert (found.outcome, found.reason[: len(reason)]) == (outcome, reason)


@pytest.mark.parametrize(
    "given",
    [{}, {"method": "Timeslices", "slices": ", timeSliceTarget: 0.95, timeSliceWindow: 2m"}],
    ids=["occurrences", "timeslices"],
)
def test_a_quiet_night_is_no_gap(url: str, tmp_path: Path, given: dict[str, str]) -> None:
    found = ask(url, write(tmp_path, total="night_total", series="never_total", **given))
    assert (found.outcome, found.consumed, found.exhausted_s) == (Outcome.PASS, 0, float("inf"))
    assert str(dict(found.burns)[840]) == "nan"


def test_before_there_was_anything_there_are_no_data(url: str, tmp_path: Path) -> None:
    found = ask(url, write(tmp_path), END - timedelta(days=30))
    assert (found.outcome, found.consumed, found.seen) == (Outcome.NO_DATA, None, 0)


def test_the_command_prints_and_exits_by_what_it_knows(url: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    known = harness("slo", "budget", path.name, "--prometheus", url, "--at", str(END.timestamp()), cwd=tmp_path)
    assert known.returncode == 0, known.stdout + known.stderr
    for part in ("availability/nines", "7d rolling", "33.3", "14m:10", "exhausted in"):
        assert part in known.stdout
    unknown = harness("slo", "budget", path.name, "--prometheus", url, cwd=tmp_path)
    assert unknown.returncode == 3
    assert "no-data: availability/nines: no data over 7d: no series bad_total, all_total" in unknown.stdout
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    down = harness("slo", "budget", path.name, "--prometheus", f"http://127.0.0.1:{port}", cwd=tmp_path)
    assert down.returncode == 3
    assert "no-data: availability/nines: store-down: nothing answers" in down.stdout
    (tmp_path / "threshold.yaml").write_text((ROOT / "docs/openslo/valid/threshold.yaml").read_text())
    none = harness("slo", "budget", "threshold.yaml", "--prometheus", url, cwd=tmp_path)
    assert (none.returncode, none.stderr[:14]) == (2, "no-burn-rates:")
    for option, value in (("--at", "yesterday"), ("--at", "2026-03-08T00:00:00"), ("--prometheus", "localhost")):
        wrong = harness("slo", "budget", path.name, "--prometheus", url, option, value, cwd=tmp_path)
        assert (wrong.returncode, "bad-option" in wrong.stderr) == (2, True)


def test_a_store_that_has_just_begun_concludes_nothing(tmp_path: Path) -> None:
    """A real exporter, scraped for seconds: its ratio is shown, and it is not the budget of a week."""
    with lab_in(tmp_path) as lab:
        await_first_scrape(lab)
        lab.say("bad_total 0\nall_total 100\n")
        at_ns = lab.say("bad_total 1\nall_total 300\n")
        found = ask(lab.store.url, write(tmp_path), datetime.fromtimestamp(at_ns / 1e9, UTC) + timedelta(seconds=1))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.consumed == pytest.approx(1 / 200 / 0.01, rel=0.3)  # rate() guesses what was before the first scrape
    assert found.seen is not None
    assert found.seen < 0.01
