"""The timetable is absolute, exact and shared without loss; the parent's side of load leaves this process alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.load import LoadPlan
from harness.model.timetable import Constant, Stage

SECOND = 1_000_000_000


def plan(**changes: Any) -> LoadPlan:
    fields: dict[str, Any] = {"scenario": "x.py", "rate": 120.0, "warmup_ns": 5 * SECOND, "duration_ns": 45 * SECOND}
    return LoadPlan(**{**fields, **changes})


@settings(max_examples=40, deadline=None)
@given(rate=st.floats(0.1, 2000), length=st.integers(1, 5 * SECOND), workers=st.integers(1, 7))
def test_workers_share_the_timetable_without_loss(rate: float, length: int, workers: int) -> None:
    whole = plan(rate=rate, warmup_ns=0, duration_ns=length, workers=workers)
    shares = [list(whole.timetable(worker)) for worker in range(workers)]
    assert [len(share) for share in shares] == [whole.share(worker) for worker in range(workers)]
    together = sorted(offset for share in shares for offset in share)
    law = Constant(rate, length)
    assert together == [law.offset_ns(number) for number in range(whole.arrivals)]
    assert all(offset < length for offset in together)
    assert law.offset_ns(whole.arrivals) >= length - 1  # the next one would be due after the end


def test_the_timetable_does_not_drift() -> None:
    whole = plan(rate=3.0, warmup_ns=0, duration_ns=3601 * SECOND)
    assert list(whole.timetable(0))[3 * 3600] == 3600 * SECOND
    assert plan(rate=200, warmup_ns=0, duration_ns=6 * SECOND).arrivals == 1200


def test_phases_part_at_the_scheduled_time() -> None:
    whole = plan(warmup_ns=SECOND, duration_ns=SECOND)
    told = [whole.phase_at(offset) for offset in (-1, 0, SECOND - 1, SECOND, 2 * SECOND - 1, 2 * SECOND)]
    assert told == ["warmup", "warmup", "warmup", "steady", "steady", "drain"]


@pytest.mark.parametrize(
    ("changes", "users"),
    [({"rate": 10}, 50), ({"rate": 120}, 240), ({"rate": 5000}, 1000), ({"rate": 5000, "users": 7}, 7)],
)
def test_as_many_users_as_replies_of_two_seconds_need(changes: dict[str, Any], users: int) -> None:
    assert plan(**changes).users_of(0) == users
    assert sum(plan(**changes, workers=3).users_of(worker) for worker in range(3)) == users


@pytest.mark.parametrize(
    "changes",
    [{"rate": 0}, {"rate": float("nan")}, {"rate": float("inf")}, {"duration_ns": 0}, {"warmup_ns": -1},
     {"queue": -1}, {"workers": 0}, {"users": 0}, {"timeout_ns": 0}, {"executor": "k6"},
     {"executor": "constant-users"}, {"executor": "poisson", "rate": 0},
     {"executor": "replay"}, {"executor": "replay", "file": "x", "speed": 0}, {"executor": "ramping-users"},
     {"executor": "ramping-arrival-rate", "stages": (Stage(5, SECOND),)},
     {"executor": "ramping-arrival-rate", "stages": (Stage(0, 99 * SECOND),)},
     {"executor": "ramping-arrival-rate", "stages": (Stage(-5, 99 * SECOND),), "start": 7}],
)  # fmt: skip
def test_a_plan_that_cannot_be_carried_out_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|needed|not one of"):
        plan(**changes)


def test_it_comes_back_from_its_stored_form() -> None:
    whole = plan(env={"A": "b"}, users=3, executor="ramping-users", stages=(Stage(5, 99 * SECOND),))
    assert LoadPlan.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole


def test_the_engine_leaves_sockets_unpatched_and_locust_out() -> None:
    code = (
        "import socket, sys; before = socket.socket\n"
        "import harness.load.engine, harness.results.samples, harness.load.recorder, harness.load.http_client\n"
        "assert socket.socket is before and before.__module__ == 'socket', before\n"
        "print(sorted({'gevent', 'locust'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
