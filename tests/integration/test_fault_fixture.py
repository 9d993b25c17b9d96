"""`slo_faults`, as the tests of a project use it: one pytest in a project of its own, on a small stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_faces import run_pytest
from tests.integration.test_fault_command import TEXT

pytestmark = pytest.mark.stack

TESTS = """
import pytest
import redis

from harness.core.errors import UsageError


def in_force(stack):
    control = stack.links.connect()
    try:
        return [one["fault"] for one in control.ask("faults")["faults"]]
    finally:
        control.close()


@pytest.fixture
def client(slo_stack):
    host, port = slo_stack.link("x->redis").split(":")
    with redis.Redis(host, int(port), socket_timeout=0.3, retry=None) as one:
        yield one


def test_what_it_breaks_is_broken_for_the_block_alone(slo_stack, slo_faults, client):
    client.ping()
    with slo_faults("latency", link="x->redis", delay="700ms") as fault:
        with pytest.raises(redis.exceptions.TimeoutError):
            client.ping()
        assert in_force(slo_stack) == ["latency"]
    assert fault.counters()["delayed"] >= 1
    assert client.ping()


def test_an_exception_ends_it(slo_stack, slo_faults):
    with pytest.raises(ZeroDivisionError), slo_faults("reset", link="x->redis"):
        1 // 0
    assert in_force(slo_stack) == []


@pytest.mark.parametrize(("name", "parameters", "slug", "words"), [
    ("latancy", {}, "fault-unknown", "'latency'"),
    ("latency", {"link": "x->redis"}, "fault-parameter", "delay is required"),
    ("latency", {"link": "x->redis", "delay": 5}, "fault-parameter", "delay is 5"),
    ("latency", {"link": "x->redis", "dealy": "5ms"}, "fault-parameter", "is 'delay' meant?"),
    ("latency", {"link": "x->redis", "delay": "5ms", "jitter": "9ms"}, "fault-parameter", "jitter"),
    ("latency", {"link": "x->redsi", "delay": "5ms"}, "link-unknown", "'x->redis'"),
])
def test_parameters_are_checked(slo_stack, slo_faults, name, parameters, slug, words):
    with pytest.raises(UsageError) as raised:
        slo_faults(name, **parameters)
    assert raised.value.slug == slug
    assert words in raised.value.cause
    assert in_force(slo_stack) == []


def test_forgotten(slo_stack, slo_faults):
    slo_faults("latency", link="x->redis", delay="5ms", expect_traffic=False).begin()
    assert in_force(slo_stack) == ["latency"]


def test_after_a_forgotten_one_there_is_none(slo_stack):
    assert in_force(slo_stack) == []
"""


def test_the_fixture_in_a_project(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(TEXT)
    (tmp_path / "test_project.py").write_text(TESTS)
    done = run_pytest(tmp_path, "--slo-no-reuse", "test_project.py")
    assert done.returncode == 1, done.stdout
    assert "10 passed, 1 error" in done.stdout, done.stdout
    assert "ERROR at teardown of test_forgotten" in done.stdout
    assert "latency on link x->redis was still in force when the test was over" in done.stdout
    assert "fault: latency on x->redis is in force: an echo took " in done.stdout
