"""A real Prometheus and an exporter that can be told what to say, and servers that only pretend to be one."""

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

from harness.core.clock import wall_ns
from harness.model.finding import Finding
from harness.model.openslo import Objective, objective_from_dict
from harness.slo.objectives import Window, collect_objective, judge_objective
from harness.stack.tools import resolve_tool
from harness.telemetry.metrics import PrometheusStore

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
    objective = objective_of(**described)
    return judge_objective(objective, collect_objective(store, objective, window))


def objective_of(**described: Any) -> Objective:
    """An objective of which `queries` is enough."""
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
    return objective_from_dict({**plain, **described})


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
