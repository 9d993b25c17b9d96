"""Raw counters: all series of a name, or those that labels choose."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from harness.core.errors import HarnessError
from harness.telemetry.counters import read_counters

PAGE = b"""\
# TYPE requests_total counter
requests_total{method="GET",status="ok"} 3
requests_total{method="GET",status="failed"} 4
requests_total{method="PUT",status="ok"} 5
# TYPE proxy_count counter
proxy_count{function="Search"} 6
proxy_count{function="Insert"} 7
# TYPE both gauge
both 8
# TYPE both_total counter
both_total 9
"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()
        thread.join()


def test_labels_choose_among_the_series_of_a_name(url: str) -> None:
    wanted = {
        "requests_total": 12.0,
        'requests_total{method="GET"}': 7.0,
        'requests_total{status="ok",method="GET"}': 3.0,
        'requests_total{status="ok"}': 8.0,
        'proxy_count{function="Insert"}': 7.0,
        "proxy_count": 13.0,
        "both": 8.0,
        "both_total": 9.0,
    }
    assert read_counters(url, list(wanted)) == wanted


@pytest.mark.parametrize(
    "name", ["request", 'requests_total{method="POST"}', 'requests_total{verb="GET"}', "requests_total{", "", "a b"]
)
def test_a_counter_that_is_not_there_is_missing_not_zero(url: str, name: str) -> None:
    with pytest.raises(HarnessError) as caught:
        read_counters(url, [name])
    assert caught.value.slug == "counter-missing"
