"""The server's counters as a run reads them: what one name lacks is an error of that name, not of the run."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.jsonio import read_json
from harness.core.outcome import Outcome
from harness.gate.collect import Collector
from harness.results.rundir import RunDir
from harness.slo.counts import EVIDENCE, judge_counts


class Exporter:
    """What a service exports, as the test says."""

    def __init__(self, text: str) -> None:
        self.text = text

    @contextmanager
    def serving(self) -> Iterator[str]:
        own = self

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = own.text.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}/metrics"
            server.shutdown()
            thread.join()


def collector(tmp_path: Path, urls: dict[str, str], counters: dict[str, tuple[str, str]]) -> Collector:
    declared = {name: SimpleNamespace(service=one, series=series) for name, (one, series) in counters.items()}
    spec = SimpleNamespace(counters=declared, services={}, services_of=lambda _: [])
    stack: Any = SimpleNamespace(
        file=SimpleNamespace(spec=spec),
        unavailable={},
        scrape=dict,
        rss_bytes=int,
        metrics_url=urls.__getitem__,
        service_dir=tmp_path.joinpath,
    )
    return Collector(stack, RunDir.create(tmp_path, "run"), 0, 0)


def test_a_counter_that_is_not_there_is_missed_by_those_alone_that_send_such_requests(tmp_path: Path) -> None:
    app, store = Exporter("searches_total 3\n"), Exporter('ops_total{op="insert"} 1\n')
    with app.serving() as one, store.serving() as other:
        counters = {"search": ("app", "searches_total"), "insert": ("store", 'ops_total{op="insert"}'),
                    "query": ("store", 'ops_total{op="query"}')}  # fmt: skip
        collecting = collector(tmp_path, {"app": one, "store": other}, counters)
        collecting.before()
        app.text, store.text = "searches_total 5\n", 'ops_total{op="insert"} 2\nops_total{op="query"} 9\n'
        collecting.after([], Any)
    evidence = read_json(collecting._run.path / EVIDENCE)
    assert judge_counts("search", 2, evidence["search"]).outcome is Outcome.PASS
    assert judge_counts("insert", 1, evidence["insert"]).outcome is Outcome.PASS
    lacking = judge_counts("query", 9, evidence["query"])  # it was not there before: from where would it count?
    assert (lacking.outcome, lacking.slug) == (Outcome.ERROR, "counter-missing")


def test_a_service_that_does_not_answer_before_the_load_ends_the_run(tmp_path: Path) -> None:
    with Exporter("searches_total 3\n").serving() as url:
        gone = url
    collecting = collector(tmp_path, {"app": gone}, {"search": ("app", "searches_total")})
    with pytest.raises(HarnessError) as caught:
        collecting.before()
    assert caught.value.slug == "counter-unreadable"


def test_one_that_does_not_answer_after_it_is_an_error_of_its_names(tmp_path: Path) -> None:
    app = Exporter("searches_total 3\n")
    with app.serving() as url:
        collecting = collector(tmp_path, {"app": url}, {"search": ("app", "searches_total")})
        collecting.before()
        app.text = "<html>not what was asked for</html>"
        collecting.after([], Any)
    evidence = read_json(collecting._run.path / EVIDENCE)
    assert judge_counts("search", 2, evidence["search"]).slug == "counter-unreadable"
