"""The clients of Redis, gRPC and PostgreSQL against servers that misbehave: every failure is a named outcome, none
hangs, and nothing that is right is one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import pytest

from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from tests.integration.driven import to_the_end
from tests.integration.rude_server import GREETINGS, GRPC, POSTGRES, REDIS, rude_server

pytestmark = pytest.mark.stack
SECOND = 1_000_000_000

EXPECTED: dict[str, dict[str, str | None]] = {
    "redis": {
        "OK": None, "PIECES": None, "ERROR": "redis_oom", "ODD-ERROR": "redis_other", "HALF": "short_reply",
        "HALF-RESET": "reset", "NOTHING": "closed", "RESET": "reset", "HANG": "timeout", "HALF-HANG": "timeout",
        "GARBAGE": "bad_resp", "TWO": "bad_resp", "AND-MORE": "bad_resp", "TOO-LONG": "bad_resp", "LONGER": "bad_resp",
        "DEEP": "bad_resp", "NO-NUMBER": "bad_resp", "NO-END": "bad_resp", "refused": "refused",
    },
    "grpc": {
        "ok": None, "pieces": None, "padded": None, "continued": None, "unknown-frame": None, "hints": None,
        "goaway-after": None, "code-5": "grpc_not_found", "code-14-alone": "grpc_unavailable", "code-99": "grpc_other",
        "status-503": "http_503", "no-status": "bad_grpc", "no-message": "bad_grpc", "half-message": "bad_grpc",
        "two-messages": "bad_grpc", "compressed": "bad_grpc", "half": "short_reply", "half-reset": "reset",
        "nothing": "closed", "reset": "reset", "hang": "timeout", "half-hang": "timeout",
        "reset-stream": "reset_stream", "refused-stream": "refused_stream", "goaway": "goaway", "garbage": "bad_http2",
        "large-frame": "bad_http2", "bad-head": "bad_http2", "bad-padding": "bad_http2", "broken-off": "bad_http2",
        "no-head": "bad_http2", "other-stream": "bad_http2", "push": "bad_http2", "short-window": "bad_http2",
        "short-ping": "bad_http2", "short-goaway": "bad_http2", "unasked": "bad_http2", "refused": "refused",
    },
    "postgres": {
        "ok": None, "pieces": None, "deadlock": "sql_rollback", "odd-code": "sql_other", "shut-down": "closed",
        "half": "closed", "half-reset": "closed", "nothing": "closed", "reset": "closed", "hang": "timeout",
        "half-hang": "timeout", "garbage": "bad_reply", "short-row-hang": "timeout", "greet-nothing": "closed",
        "greet-reset": "closed", "greet-hang": "connect_timeout", "greet-half-hang": "connect_timeout",
        "greet-garbage": "bad_reply", "greet-full": "sql_connection", "refused": "refused",
    },
}  # fmt: skip
SCENARIO = """\
import json, os
from harness.load.users import RecordingUser
from harness.load.users.milvus import MilvusUser
from harness.load.users.postgres import PostgresUser
from harness.load.users.redis import RedisUser

PORTS, CASES = json.loads(os.environ["PORTS"]), json.loads(os.environ["CASES"])

def one(user):
    case = next(user.cases, None)
    if case is not None:
        reply = user.ask(case)
        with open(os.environ["SEEN"], "a") as seen:
            seen.write(json.dumps([user.kind, case, reply.error, user.detail(reply)]) + "\\n")

def patience(case):
    return 0.4 if "hang" in case.lower() else None

class Cases:
    tasks = [one]

    def on_start(self):
        # twice: what one leaves behind must not touch the next
        self.cases = iter([case for case in CASES[self.kind] for _ in (1, 2)])

class RudeRedis(Cases, RedisUser):
    kind, host = "redis", f"127.0.0.1:{PORTS['redis']}"

    def ask(self, case):
        if case == "refused":
            return RefusedRedis(self.environment).client.execute("GET", "x", name="redis:refused")
        return self.client.execute(case, b"x" * 300_000, name=f"redis:{case}", timeout=patience(case))

    def detail(self, reply):
        return repr(reply.value)

class RudeGrpc(Cases, MilvusUser):
    kind, host = "grpc", f"127.0.0.1:{PORTS['grpc']}"

    def ask(self, case):
        if case == "refused":
            return RefusedGrpc(self.environment).client.call("/x/y", b"", name="grpc:refused")
        much = b"x" * 300_000  # more than any window takes
        return self.client.call("/" + case, much, name=f"grpc:{case}", timeout=patience(case))

    def detail(self, reply):
        return (reply.body.decode(), reply.detail)

class RudePostgres(Cases, PostgresUser):
    kind, host = "postgres", "postgresql://nobody@127.0.0.1:1/x"

    def ask(self, case):
        self.client.close()
        port = 1 if case == "refused" else PORTS["postgres"]
        self.client._dsn = f"postgresql://nobody@127.0.0.1:{port}/{case}"
        return self.client.execute("SELECT 7", name=f"postgres:{case}", timeout=patience(case))

    def detail(self, reply):
        return reply.rows

class RefusedRedis(RedisUser):
    abstract = True
    host = "127.0.0.1:1"

class RefusedGrpc(MilvusUser):
    abstract = True
    host = "127.0.0.1:1"
"""


@dataclass
class Seen:
    errors: dict[tuple[str, str], list[str | None]]
    details: dict[tuple[str, str], list[object]]
    samples: Samples


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    tmp_path = tmp_path_factory.mktemp("rude")
    scenario, log = tmp_path / "cases.py", tmp_path / "seen.jsonl"
    scenario.write_text(SCENARIO)
    cases = {kind: list(known) for kind, known in EXPECTED.items()}
    most = max(2 * len(known) for known in cases.values())
    with rude_server() as ports:
        env = {"PORTS": json.dumps(ports), "CASES": json.dumps(cases), "SEEN": str(log)}
        # one user of each kind goes through all cases, each when the one before has ended
        plan = LoadPlan(
            str(scenario), 3.0 * most, 0, SECOND, "http://127.0.0.1:1", users=3, env=env, queue=1000,
            timeout_ns=20 * SECOND,
        )  # fmt: skip
        engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "load"))
        to_the_end(engine)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    errors: dict[tuple[str, str], list[str | None]] = {}
    details: dict[tuple[str, str], list[object]] = {}
    for kind, case, error, detail in rows:
        errors.setdefault((kind, case), []).append(error)
        details.setdefault((kind, case), []).append(detail)
    return Seen(errors, details, load_samples(run.load))


def test_every_case_has_its_expectation() -> None:
    assert EXPECTED["redis"].keys() == REDIS.keys() | {"refused"}
    assert EXPECTED["grpc"].keys() == GRPC.keys() | {"refused"}
    assert EXPECTED["postgres"].keys() == POSTGRES.keys() | GREETINGS.keys() | {"refused"}


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, known in EXPECTED.items() for case in known])
def test_each_failure_is_a_named_outcome_twice(seen: Seen, kind: str, case: str) -> None:
    wanted = EXPECTED[kind][case]
    assert seen.errors[kind, case] == [wanted, wanted]
    counts = seen.samples.counts(f"{kind}:{case}")
    assert counts.outcomes == {wanted or "ok": 2}
    connected = case != "refused" and not case.startswith("greet-")
    assert counts.sent == (2 if connected else 0)


def test_what_is_right_is_read_whole(seen: Seen) -> None:
    assert seen.details["redis", "PIECES"] == ["[b'abc', -7]"] * 2
    for case in ("ok", "pieces", "padded", "continued", "unknown-frame", "hints", "goaway-after"):
        assert seen.details["grpc", case] == [["hello", ""]] * 2
    assert seen.details["grpc", "code-5"] == [["", "so there"]] * 2
    assert seen.details["postgres", "ok"] == seen.details["postgres", "pieces"] == [[[7]]] * 2


def test_no_task_raised(seen: Seen) -> None:
    assert Counter(worker.reason for worker in seen.samples.workers) == {"": 1}
    assert not [name for name in seen.samples.names() if name == "exceptions"]
