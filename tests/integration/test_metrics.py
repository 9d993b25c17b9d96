"""A real Prometheus and an exporter that can be told what to say: nothing that is missing may ever pass."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.core.clock import wall_ns
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.openslo import objective_from_dict
from harness.slo.objectives import Window, collect_objective, judge_objective
from harness.stack.tools import resolve_tool
from harness.telemetry.metrics import Instant, PrometheusStore, QueryFailed, Range

pytestmark = pytest.mark.stack

WINDOW_NS = 2_400_000_000  # twelve scrapes
# Says what stands in a file; without the file it is down.
EXPORTER = """
import http.server, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        try:
            body, status = pathlib.Path(sys.argv[1]).read_bytes(), 200
        except FileNotFoundError:
            body, status = b"down", 503
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - {{job_name: prometheus, static_configs: [{{targets: ["127.0.0.1:{own}"]}}]}}
  - {{job_name: app, static_configs: [{{targets: ["127.0.0.1:{app}"]}}]}}
"""


@dataclass
class Lab:
    """A Prometheus that scrapes itself and the exporter every 200 ms."""

    store: PrometheusStore
    prometheus: subprocess.Popen[bytes]
    says: Path

    def say(self, text: str) -> int:
        """From now on the exporter says `text`; returns when that was scraped: a moment after which it holds."""
        new = self.says.with_suffix(".new")
        new.write_text(text)
        new.replace(self.says)
        return self.scraped()

    def scraped(self, at_ns: int = 0) -> int:
        """Wait for the second scrape after `at_ns` or now: the first may have been under way."""
        at_ns = at_ns or wall_ns()
        assert self.store.wait_for_sample("app", at_ns, 30)
        after = wall_ns()
        assert self.store.wait_for_sample("app", after, 30)
        return after

    def judge(self, start_ns: int, *, length_ns: int = WINDOW_NS, **described: Any) -> Finding:
        """The finding of a window that begins at `start_ns`, once its last scrape is in."""
        window = Window(start_ns, start_ns + length_ns)
        assert self.store.wait_for_sample(["app", "prometheus"], window.end_wall_ns, 30)
        return judge(self.store, window, **described)


def judge(store: PrometheusStore, window: Window, **described: Any) -> Finding:
    ratio = "value" not in described["queries"]
    plain: dict[str, Any] = {
        "id": "objectives/lab/0",
        "slo": "lab",
        "kind": "ratio" if ratio else "threshold",
        "operator": ">=" if ratio else "<",
        "target": 0.9,
        "unit": "",
        "counter": ratio,
        "service": "app",
        "description": "",
        "window": "",
    }
    objective = objective_from_dict({**plain, **described})
    return judge_objective(objective, collect_objective(store, objective, window))


@contextmanager
def lab_in(directory: Path) -> Iterator[Lab]:
    says = directory / "metrics.txt"
    says.write_text("alive 1\n")
    tool = resolve_tool("prometheus")
    with subprocess.Popen([sys.executable, "-c", EXPORTER, str(says)], stdout=subprocess.PIPE) as exporter:
        assert exporter.stdout is not None
        app = int(exporter.stdout.readline())
        with socket.create_server(("127.0.0.1", 0)) as probe:
            own = probe.getsockname()[1]
        (directory / "prometheus.yml").write_text(CONFIG.format(own=own, app=app))
        command = [
            str(tool.path),
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ]
        with (
            (directory / "prometheus.log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, env=dict(tool.env) or None) as prometheus,
        ):
            store = PrometheusStore(f"http://127.0.0.1:{own}", timeout=5)
            try:
                yield Lab(store, prometheus, says)
            finally:
                store.close()
                for process in (prometheus, exporter):
                    process.kill()


def await_first_scrape(lab: Lab) -> None:
    """Prometheus makes no scrape in its first seconds, and does not listen in its very first."""
    until = wall_ns() + 30_000_000_000
    begun = wall_ns()
    while wall_ns() < until:
        if lab.store.wait_for_sample(["app", "prometheus"], begun, 1):
            return
    raise AssertionError("Prometheus did not scrape within 30 s")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab_in(tmp_path_factory.mktemp("lab")) as lab:
        await_first_scrape(lab)
        yield lab


def test_the_port_answers_in_types(lab: Lab) -> None:
    version = lab.store.buildinfo()
    assert isinstance(version, str)
    assert version[0].isdigit()
    targets = lab.store.targets()
    assert not isinstance(targets, QueryFailed)
    assert sorted((t.job, t.interval, t.health) for t in targets) == [("app", 0.2, "up"), ("prometheus", 0.2, "up")]
    at = lab.say('special{kind="nan"} NaN\nspecial{kind="inf"} -Inf\nspecial{kind="one"} 1\n')
    answer = lab.store.instant("special")
    assert isinstance(answer, Instant)
    assert {point.labels["kind"]: str(point.value) for point in answer.series} == {
        "nan": "nan",
        "inf": "-inf",
        "one": "1.0",
    }
    scalar = lab.store.instant("scalar(vector(7))")
    assert isinstance(scalar, Instant)
    assert [(dict(point.labels), point.value) for point in scalar.series] == [({}, 7.0)]
    lab.scraped(at + 1_000_000_000)
    raw = lab.store.raw('special{kind="one"}', at, at + 1_000_000_000)
    stepped = lab.store.range('special{kind="one"}', at, at + 1_000_000_000, 0.25)
    assert isinstance(raw, Range)
    assert isinstance(stepped, Range)
    assert len(stepped.series[0].samples) == 5
    times = [t for t, _ in raw.series[0].samples]
    assert 3 <= len(times) <= 6
    assert all(at / 1e9 - 0.002 <= t <= at / 1e9 + 1 for t in times)


def test_a_quantile_and_a_ratio_pass_on_real_samples(lab: Lab) -> None:
    buckets = 'lat_bucket{{le="0.1"}} {0}\nlat_bucket{{le="0.25"}} {1}\nlat_bucket{{le="+Inf"}} {1}\n'
    text = buckets + "good_total {0}\nall_total {1}\n"
    start = lab.say(text.format(1000, 1000))
    lab.say(text.format(1095, 1100))
    query = "histogram_quantile(0.9, sum by (le) (rate(lat_bucket[$window])))"
    found = lab.judge(start, queries={"value": query}, target=0.25)
    assert (found.outcome, found.query) == (Outcome.PASS, query.replace("$window", "2400ms")), found.reason
    assert found.observed == pytest.approx(0.0947, rel=0.05)
    assert found.samples >= 30
    found = lab.judge(start, queries={"good": "good_total", "total": "sum(all_total)"}, target=0.8)
    assert (found.outcome, found.observed) == (Outcome.PASS, 0.95)
    found = lab.judge(start, queries={"good": "good_total", "total": "sum(all_total)"}, target=0.99)
    assert found.outcome is Outcome.FAIL


def test_an_absent_series_is_no_data(lab: Lab) -> None:
    start = lab.say("present 1\n")
    for query in ("gone", "present - gone", "absent(gone) - 1", "rate(gone[$window])"):
        found = lab.judge(start, queries={"value": query})
        assert (found.outcome, "no series gone" in found.reason) == (Outcome.NO_DATA, True), found


def test_what_is_no_number_is_no_data(lab: Lab) -> None:
    start = lab.say("maybe NaN\nzero 0\npresent 1\n")
    for query in ("maybe", "zero / zero", "present / zero", "present * +Inf"):
        found = lab.judge(start, queries={"value": query}, operator=">", target=-1.0)
        assert (found.outcome, "nothing was measured" in found.reason) == (Outcome.NO_DATA, True), found


def test_a_target_that_was_down_in_the_window_is_no_data(lab: Lab) -> None:
    start = lab.say("steady 1\n")
    lab.says.unlink()
    lab.scraped(start + WINDOW_NS // 2)
    lab.say("steady 1\n")
    found = lab.judge(start, queries={"value": "steady"}, target=2.0, length_ns=WINDOW_NS + 600_000_000)
    assert found.outcome is Outcome.NO_DATA
    assert "scrapes of app (127.0.0.1:" in found.reason
    after = lab.scraped()
    assert lab.judge(after, queries={"value": "steady"}, target=2.0).outcome is Outcome.PASS


def test_a_counter_that_restarts_in_the_window_is_counted_on(lab: Lab) -> None:
    lab.say("some_total 500\nall_total 1000\n")
    start = wall_ns()  # no sample lies between this and the rise: raw differences see it, increase() would not
    lab.say("some_total 590\nall_total 1100\n")
    lab.say("some_total 9\nall_total 10\n")
    found = lab.judge(start, queries={"good": "some_total", "total": "all_total"}, target=0.8)
    assert (found.outcome, found.observed) == (Outcome.PASS, 0.9)


def test_several_series_are_summed_in_a_ratio_and_each_must_hold_in_a_threshold(lab: Lab) -> None:
    text = 'all_total{{c="a"}} {0}\nall_total{{c="b"}} {1}\nbad_total{{c="a"}} {2}\nbad_total{{c="b"}} {3}\n'
    lab.say(text.format(10, 20, 1, 2))
    start = wall_ns()
    lab.say(text.format(70, 60, 2, 8))
    found = lab.judge(start, queries={"bad": "bad_total", "total": "all_total"}, target=0.8)
    assert (found.outcome, found.observed) == (Outcome.PASS, 0.93)
    found = lab.judge(start, queries={"value": "bad_total / all_total"}, target=0.1)
    assert found.outcome is Outcome.FAIL
    assert found.observed == pytest.approx(8 / 60)
    assert "worst of 2 series" in found.reason


def test_nothing_of_nothing_is_no_data(lab: Lab) -> None:
    start = lab.say("good_total 5\nall_total 5\n")
    found = lab.judge(start, queries={"good": "good_total", "total": "all_total"})
    assert (found.outcome, found.reason[:4]) == (Outcome.NO_DATA, "0/0:")
    queries = {"good": "sum(increase(good_total[$window]))", "total": "sum(increase(all_total[$window]))"}
    found = lab.judge(start, queries=queries, counter=False)
    assert (found.outcome, found.reason[:4]) == (Outcome.NO_DATA, "0/0:")


def test_a_query_that_prometheus_refuses_is_an_error(lab: Lab) -> None:
    failed = lab.store.instant("rate(up)")
    assert isinstance(failed, QueryFailed)
    assert failed.kind == "bad-query"
    # It parses, and Prometheus refuses it when it is evaluated.
    start = lab.say('one{a="1"} 1\none{a="2"} 1\ntwo{b="1"} 1\n')
    found = lab.judge(start, queries={"value": "one * on() two * on() one"})
    assert (found.outcome, found.reason.split(":")[0]) == (Outcome.ERROR, "bad-query")


def test_a_job_that_does_not_exist_is_not_waited_for_beyond_the_deadline(lab: Lab) -> None:
    assert not lab.store.wait_for_sample("nobody", wall_ns(), 0.3)
    assert not lab.store.wait_for_sample("app", wall_ns(), 0.5, targets_per_job=2)


def test_a_prometheus_that_was_killed_is_named(tmp_path: Path) -> None:
    with lab_in(tmp_path) as lab:
        await_first_scrape(lab)
        start = lab.say("steady 1\n")
        assert lab.judge(start, queries={"value": "steady"}, target=2.0).outcome is Outcome.PASS
        lab.prometheus.kill()
        lab.prometheus.wait(10)
        found = judge(lab.store, Window(start, start + WINDOW_NS), queries={"value": "steady"}, target=2.0)
        assert (found.outcome, found.observed) == (Outcome.NO_DATA, None)
        assert found.reason.startswith("store-down: nothing answers at http://127.0.0.1:")
        assert not lab.store.wait_for_sample("app", wall_ns(), 30)


@contextmanager
def server_that_says(status: int, body: bytes, length: int | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


RESULT = b'"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0"]}]}'


@pytest.mark.parametrize(
    ("status", "body", "length", "kind"),
    [
        (200, b'{"status":"success",' + RESULT + b',"warnings":["store a did not answer"]}', None, "partial"),
        (200, b'{"status":"success",' + RESULT, 500, "partial"),
        (200, b"<html>a proxy</html>", None, "http"),
        (200, b'{"hello":"world"}', None, "http"),
        (200, b"[]", None, "http"),
        (500, b"broken", None, "http"),
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', None, "timeout"),
        (404, b"", None, "http"),
    ],
)
def test_answers_that_are_not_to_be_believed(status: int, body: bytes, length: int | None, kind: str) -> None:
    with server_that_says(status, body, length) as url:
        store = PrometheusStore(url, timeout=5)
        failed = store.instant("up")
        store.close()
        assert isinstance(failed, QueryFailed)
        assert failed.kind == kind, failed
        assert url in failed.detail


def test_a_store_that_accepts_and_says_nothing_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        store = PrometheusStore(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=0.3)
        for answer in (store.instant("up"), store.targets(), store.raw("up", 0, 1), store.buildinfo()):
            assert isinstance(answer, QueryFailed)
            assert answer.kind == "timeout"
