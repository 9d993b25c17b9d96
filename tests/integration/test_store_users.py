"""The users of Milvus, PostgreSQL and Redis against the real servers: values, errors, timeouts, and connections that a
server closed between two requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness.gate.environment import scenario_environment
from harness.gate.session import Session
from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from tests.integration.driven import to_the_end

pytestmark = pytest.mark.stack
SECOND = 1_000_000_000
STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: stores}
spec:
  services:
    postgres: {use: postgres}
    redis: {use: redis}
    milvus: {use: milvus}
  target: milvus.grpc
"""
SCENARIO = """\
import json, os
from harness.load.users import address
from harness.load.users.milvus import MilvusUser, Search
from harness.load.users.postgres import PostgresUser
from harness.load.users.redis import RedisUser
from pymilvus.grpc_gen import common_pb2, milvus_pb2

def note(case, reply, value):
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(json.dumps([case, reply.error, value]) + "\\n")

def redis(user):
    client, keep = user.client, "x" * 100_000
    client.execute("FLUSHDB", record=False)
    note("set", client.execute("SET", "a", keep), None)
    note("get", reply := client.execute("GET", "a"), len(reply.value))
    note("wrong", client.execute("LPUSH", "a", 1, name="wrong"), None)
    both = client.pipeline([("INCR", "n"), ("LPUSH", "a", 1), ("INCR", "n")], name="three")
    note("three", both, [one if isinstance(one, int) else one.kind for one in both.value])
    client.execute("CLIENT", "KILL", "ID", client.execute("CLIENT", "ID", record=False).value, "SKIPME", "no",
                   record=False)
    note("again", reply := client.execute("GET", "n", name="again"), int(reply.value))

def postgres(user):
    client = user.client
    note("rows", reply := client.execute("SELECT i, 'a' FROM generate_series(1, 3) i", name="rows"), reply.rows)
    client.execute("CREATE TEMP TABLE t (i int PRIMARY KEY)", record=False)
    note("insert", reply := client.execute("INSERT INTO t VALUES (%s), (%s)", (1, 2), name="insert"), reply.count)
    note("twice", client.execute("INSERT INTO t VALUES (1)", name="twice"), None)
    note("slow", client.execute("SELECT pg_sleep(60)", name="slow", timeout=0.5), None)
    note("after", reply := client.execute("SELECT 7", name="after"), reply.rows)
    own = client.execute("SELECT pg_backend_pid()", record=False).rows[0]
    other = Postgres(user.environment).client
    other.execute("SELECT pg_terminate_backend(%s, 5000)", own, record=False)  # returns when it has ended
    other.close()
    note("again in sql", reply := client.execute("SELECT 8", name="again in sql"), reply.rows)

def milvus(user):
    request = milvus_pb2.ShowCollectionsRequest()
    reply = user.client.ask("ShowCollections", request, milvus_pb2.ShowCollectionsResponse, name="show")
    note("show", reply, None)
    note("none", user.client.search(Search("none", top_k=1).encode([0.0, 1.0]), name="none"), None)
    note("method", user.client.ask("NoSuch", request, common_pb2.Status, name="method"), None)

class Redis(RedisUser):
    host, tasks = address("redis", "resp") + "/3", [redis]

class Postgres(PostgresUser):
    host, tasks = f"postgresql://postgres@{address('postgres', 'sql')}/postgres", [postgres]

class Milvus(MilvusUser):
    host, tasks = address("milvus", "grpc"), [milvus]
"""
WANTED = {
    "set": (None, None), "get": (None, 100_000), "wrong": ("redis_wrongtype", None),
    "three": ("redis_wrongtype", [1, "wrongtype", 2]), "again": (None, 2),
    "rows": (None, [[1, "a"], [2, "a"], [3, "a"]]), "insert": (None, 2), "twice": ("sql_integrity", None),
    "slow": ("timeout", None), "after": (None, [[7]]), "again in sql": (None, [[8]]),
    "show": (None, None), "method": ("grpc_unimplemented", None),
}  # fmt: skip
RECORDED_AS = {"set": "SET", "get": "GET"}  # without a name of their own


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, tuple[str | None, Any]], Samples]]:
    """Case -> (error, value), and what was recorded: one task of each user."""
    tmp_path = tmp_path_factory.mktemp("stores")
    (tmp_path / "stack.yaml").write_text(STACK)
    (tmp_path / "stores.py").write_text(SCENARIO)
    log = tmp_path / "seen.jsonl"
    with Session(tmp_path / "results", reuse=False) as session:
        stack = session.stack(tmp_path / "stack.yaml", session.tell)
        env = {**scenario_environment(stack), "SEEN": str(log)}
        plan = LoadPlan(
            str(tmp_path / "stores.py"), 3.0, 0, SECOND, "http://127.0.0.1:1", users=3, env=env,
            timeout_ns=60 * SECOND,
        )  # fmt: skip
        engine = LoadEngine(plan, run := RunDir.create(tmp_path / "results", "load"))
        to_the_end(engine)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    yield {case: (error, value) for case, error, value in rows}, load_samples(run.load)


@pytest.mark.parametrize("case", WANTED)
def test_each_answer_of_a_real_server_has_its_outcome(
    seen: tuple[dict[str, tuple[str | None, Any]], Samples], case: str
) -> None:
    found, samples = seen
    assert found[case] == WANTED[case]
    counts = samples.counts(RECORDED_AS.get(case, case))
    assert counts.outcomes == {WANTED[case][0] or "ok": 1} and counts.sent == 1


def test_a_collection_that_is_not_there_is_named_by_the_servers_own_number(
    seen: tuple[dict[str, tuple[str | None, Any]], Samples],
) -> None:
    error, _ = seen[0]["none"]
    assert error is not None and re.fullmatch("milvus_[0-9]+", error)


def test_nothing_else_was_recorded_and_no_task_raised(
    seen: tuple[dict[str, tuple[str | None, Any]], Samples],
) -> None:
    _, samples = seen
    assert set(samples.request_names()) == {RECORDED_AS.get(case, case) for case in WANTED} | {"none"}
    assert [(worker.complete, worker.reason) for worker in samples.workers] == [(True, "")]
    assert "exceptions" not in samples.names()
