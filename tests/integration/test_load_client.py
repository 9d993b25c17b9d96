"""The client against a server that misbehaves: every failure is a named outcome, and nothing that is right is one."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from tests.integration.driven import to_the_end
from tests.integration.load_target import LARGE, Target, load_target

pytestmark = pytest.mark.stack
SECOND = 1_000_000_000

# method, path -> error, status, length of the body, X-Answer
EXPECTED: dict[str, tuple[str | None, int, int, str | None]] = {
    "GET /ok": (None, 200, 11, "42"),
    "HEAD /ok": (None, 200, 0, "42"),
    "GET /204": (None, 204, 0, "42"),
    "GET /hints": (None, 200, 11, "42"),
    "GET /chunked": (None, 200, 11, None),
    "GET /large": (None, 200, len(LARGE), None),
    "GET /pieces": (None, 200, 11, "42"),
    "GET /until-end": (None, 200, 11, "42"),
    "GET /close": (None, 200, 11, "42"),
    "GET /close-unsaid": (None, 200, 11, "42"),
    "POST /upload": (None, 200, 11, "42"),
    "DELETE /ok": (None, 200, 11, "42"),
    "PUT /ok": (None, 200, 11, "42"),
    "GET /503": ("http_503", 503, 4, None),
    "GET /reset": ("reset", 0, 0, None),
    "GET /half": ("short_body", 0, 0, None),
    "GET /half-head": ("short_body", 0, 0, None),
    "GET /half-chunk": ("short_body", 0, 0, None),
    "GET /too-long": ("bad_http", 0, 0, None),
    "GET /two": ("bad_http", 0, 0, None),
    "GET /garbage": ("bad_http", 0, 0, None),
    "GET /bad-length": ("bad_http", 0, 0, None),
    "GET /bad-chunk": ("bad_http", 0, 0, None),
    "GET /upgrade": ("bad_http", 0, 0, None),
    "GET /nothing": ("closed", 0, 0, None),
    "GET /hang": ("timeout", 0, 0, None),
    "GET /loris": ("timeout", 0, 0, None),
}
SCENARIO = """\
import itertools, json, os
from locust import events, task
from harness.load.users import SloUser

CASES = json.loads(os.environ["CASES"])
SEEN, SILENT = os.environ["SEEN"], os.environ["SILENT"]
cases = iter([*CASES, *CASES])  # twice: what one leaves behind must not touch the next

@events.request.add_listener
def heard(request_type, name, response_time, response_length, response, exception, **others):
    with open(SEEN + ".heard", "a") as heard:
        outcome = "ok" if exception is None else str(exception)
        heard.write(json.dumps([name, outcome, response_length, response_time > 0]) + "\\n")

def note(case, reply):
    with open(SEEN, "a") as seen:
        row = [reply.error, reply.status, len(reply.body), reply.headers.get("x-answer")]
        seen.write(json.dumps([case, row]) + "\\n")

class Client(SloUser):
    @task
    def one(self):
        case = next(cases, None)
        if case is None:
            return self.last()
        method, path = case.split()
        data = b"x" * 5_000_000 if path == "/upload" else None
        timeout = 0.3 if path in ("/hang", "/loris") else None
        note(case, self.client.request(method, path, data=data, timeout=timeout, name=case))

    @task(0)
    def last(self):
        if os.path.exists(SEEN + ".done"):
            return
        open(SEEN + ".done", "w").close()
        for method in ("GET", "POST"):
            note(f"{method} /arm", self.client.request(method, "/arm", name="/arm"))
            # the server reads this one and closes, without a byte
            note(f"{method} /after", self.client.request(method, "/after", name=f"{method} /after"))
            note(f"{method} /ok again", self.client.request(method, "/ok", name="again"))

class Refused(SloUser):
    host = "http://127.0.0.1:1"
    @task
    def one(self):
        note("refused", self.client.get("/x", name="refused"))

class Silent(SloUser):
    host = SILENT
    weight = 0.1
    @task
    def one(self):
        note("silent", self.client.get("/x", name="silent", timeout=0.3))
"""


@dataclass
class Seen:
    rows: list[tuple[str, list[Any]]]
    samples: Samples
    served: dict[str, int]
    heard: list[list[Any]]

    def of(self, case: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for name, row in self.rows if name == case]


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """A port that takes no more connections: its queue is full and nobody accepts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            waiting.append(one := socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, silent: str) -> Iterator[Seen]:
    tmp_path = tmp_path_factory.mktemp("client")
    path, log = tmp_path / "cases.py", tmp_path / "seen.jsonl"
    path.write_text(SCENARIO)
    with load_target() as target:
        yield run(target, path, log, silent)


def run(target: Target, path: Path, log: Path, silent: str) -> Seen:
    env = {"CASES": json.dumps(list(EXPECTED)), "SEEN": str(log), "SILENT": silent}
    plan = LoadPlan(str(path), 60.0, 0, 3 * SECOND, target.host, users=3, env=env)
    engine = LoadEngine(plan, run := RunDir.create(path.parent / "results", "client"))
    to_the_end(engine)
    assert (run.logs / "load-0.log").read_text() == ""
    rows = [tuple(json.loads(line)) for line in log.read_text().splitlines()]
    heard = [json.loads(line) for line in Path(f"{log}.heard").read_text().splitlines()]
    return Seen(rows, load_samples(run.load), target.counts(), heard)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", EXPECTED)
def test_each_behaviour_has_its_outcome(seen: Seen, case: str) -> None:
    assert seen.of(case) == [EXPECTED[case]] * 2
    outcome = EXPECTED[case][0] or "ok"
    assert seen.samples.counts(case).outcomes == {outcome: 2}
    assert seen.samples.counts(case).sent == 2
    assert seen.samples.select("errors", {"name": case}).true == (0 if outcome == "ok" else 2)


def test_what_was_sent_is_what_the_server_has_read(seen: Seen) -> None:
    by_path: dict[str, int] = {}
    for case in EXPECTED:
        path = case.split()[1]
        counts = seen.samples.counts(case)
        by_path[path] = by_path.get(path, 0) + counts.sent + counts.retried
    by_path["/ok"] += seen.samples.counts("again").sent
    assert {path: count for path, count in seen.served.items() if path in by_path} == by_path
    assert seen.samples.workers[0].complete


def test_what_never_reached_a_server_is_not_sent(seen: Seen) -> None:
    for name, error in (("refused", "refused"), ("silent", "connect_timeout")):
        counts = seen.samples.counts(name)
        assert counts.sent == 0 and set(counts.outcomes) == {error} and counts.outcomes[error] > 2
        assert set(seen.of(name)) == {(error, 0, 0, None)}


def test_a_connection_that_the_server_closed_meanwhile(seen: Seen) -> None:
    """A GET is sent once more, a POST is not, for the server may have carried it out; the next request is fine."""
    good = (None, 200, 11, "42")
    assert seen.of("GET /arm") == seen.of("POST /arm") == [good]
    assert seen.of("GET /after") == [good]
    assert seen.of("POST /after") == [("closed", 0, 0, None)]
    assert seen.of("GET /ok again") == seen.of("POST /ok again") == [good]
    retried = seen.samples.counts("GET /after")
    assert (retried.sent, retried.retried, retried.outcomes) == (1, 1, {"ok": 1})
    assert seen.samples.counts("POST /after").retried == 0


def test_who_listens_to_locusts_event_hears_of_every_request(seen: Seen) -> None:
    heard = Counter((name, outcome) for name, outcome, _, _ in seen.heard)
    names = {name for name, _ in heard}
    assert {*EXPECTED, "refused", "silent"} <= names
    told = {(name, outcome): n for name in names for outcome, n in seen.samples.counts(name).outcomes.items()}
    assert dict(heard) == told
    assert {length for name, _, length, _ in seen.heard if name == "GET /large"} == {len(LARGE)}
    assert all(lasted for *_, lasted in seen.heard)
