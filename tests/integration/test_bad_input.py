"""Bad input and bad luck: each ends in its own outcome and exit code, with a run directory that can be read."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.outcome import Outcome, exit_code
from harness.gate.run import RunResult
from harness.gate.session import Session
from harness.model.events import Event, LoadTick
from tests.integration.helpers import ROOT, finding, harness, latest, run_one, write_validation

OBJECTIVES = f"[{ROOT / 'slos/vector_search.openslo.yaml'}]"


def test_a_mistyped_field_ends_before_anything_starts(tmp_path: Path) -> None:
    path = write_validation(tmp_path)
    path.write_text(path.read_text().replace("duration", "duraton"))
    done = harness("run", str(path), cwd=tmp_path, env={"XDG_STATE_HOME": str(tmp_path / "state")})
    assert done.returncode == 2, done.stderr
    assert "short.yaml:7:" in done.stderr
    assert "Did you mean 'duration'?" in done.stderr
    assert "^^^^^^^" in done.stderr
    assert latest(tmp_path)["outcome"] == "usage"
    assert not (tmp_path / "state").exists()


def test_a_promql_error_ends_before_anything_starts(tmp_path: Path) -> None:
    slo = tmp_path / "broken.openslo.yaml"
    slo.write_text((ROOT / "slos/vector_search.openslo.yaml").read_text().replace("[$window]", "[$window", 1))
    path = write_validation(tmp_path, objectives=f"[{slo}]")
    done = harness("run", str(path), cwd=tmp_path, env={"XDG_STATE_HOME": str(tmp_path / "state")})
    assert done.returncode == 2, done.stderr
    assert "promql-syntax" in done.stderr
    assert "broken.openslo.yaml:" in done.stderr
    assert latest(tmp_path)["outcome"] == "usage"
    assert not (tmp_path / "state").exists()


@pytest.mark.stack
def test_a_missing_binary_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    path = write_validation(tmp_path)
    env = {"XDG_CACHE_HOME": str(tmp_path / "empty")}  # Milvus, at least, is found nowhere else
    done = harness("run", "--no-reuse", str(path), cwd=tmp_path, env=env)
    verdict = latest(tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert verdict["outcome"] == "not-validated"
    (ending,) = [one for one in verdict["findings"] if one["id"] == "run/completed"]
    assert ending["slug"] == "service-unavailable"
    assert re.match(r"validation short needs .*milvus, .*cannot be had on this machine: ", ending["reason"])
    assert re.search(r"milvus: milvus \(.*\) is neither on PATH nor in ", ending["reason"])
    assert "harness stack install" in ending["reason"]


@pytest.mark.stack
def test_a_port_that_is_taken_is_named_with_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        stack = tmp_path / "stack.yaml"
        stack.write_text(
            "apiVersion: harness/v1\nkind: Stack\nmetadata: {name: tiny}\nspec:\n"
            f"  services:\n    redis: {{use: redis, ports: {{resp: {port}}}}}\n  target: redis.resp\n"
        )
        done = harness("run", str(write_validation(tmp_path, stack=stack)), cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    (ending,) = [one for one in latest(tmp_path)["findings"] if one["id"] == "run/completed"]
    assert ending["slug"] == "port-taken"
    assert str(port) in ending["reason"]


@pytest.mark.stack
def test_a_scenario_that_raises_at_import_is_a_usage_error(slo_session: Session, tmp_path: Path) -> None:
    scenario = tmp_path / "broken.py"
    scenario.write_text("import locust\n\nraise LookupError('no such corpus')\n")
    done = run_one(write_validation(tmp_path, scenario=scenario), slo_session)
    assert exit_code(done.verdict.outcome) == 2
    reason = finding(done, "run/completed").reason
    assert "no such corpus" in reason
    assert "broken.py" in reason


def during_load(session: Session, act: Callable[[], None]) -> None:
    """Have `act` called once, in the second second of the steady phase."""
    done: list[bool] = []

    def on_event(event: Event) -> None:
        if isinstance(event, LoadTick) and event.phase == "steady" and event.elapsed >= 2 and not done:
            done.append(True)
            act()

    session.handlers.append(on_event)


def run_while(tmp_path: Path, service: str, signum: int, **validation: str) -> RunResult:
    """One run on a stack of its own, in which `service` gets a signal under load."""
    path = write_validation(tmp_path, **validation)  # type: ignore[arg-type]
    with Session(tmp_path / "results", reuse=False) as session:
        stack = session.stack(ROOT / "stack.yaml", session.tell)
        during_load(session, lambda: stack.signal(service, signum))
        return run_one(path, session)


@pytest.mark.stack
def test_a_service_that_dies_under_load_is_an_error_even_if_nothing_noticed(tmp_path: Path) -> None:
    done = run_while(tmp_path, "redis", signal.SIGKILL)
    assert done.verdict.outcome is Outcome.ERROR
    died = finding(done, "stack/services")
    assert died.slug == "service-died"
    assert "redis" in died.reason
    assert (done.run.logs / "redis.log").stat().st_size > 0


@pytest.mark.stack
def test_a_service_that_dies_under_load_and_breaks_the_promise_is_a_failure(tmp_path: Path) -> None:
    done = run_while(tmp_path, "milvus", signal.SIGKILL)
    assert done.verdict.outcome is Outcome.FAIL
    assert finding(done, "thresholds/errors").outcome is Outcome.FAIL
    assert finding(done, "stack/services").outcome is Outcome.ERROR
    assert finding(done, "counts/search").outcome is Outcome.PASS  # failed requests are counted alike on both sides


@pytest.mark.stack
def test_without_prometheus_its_objectives_are_no_data_and_the_rest_is_judged(tmp_path: Path) -> None:
    done = run_while(tmp_path, "prometheus", signal.SIGKILL, objectives=OBJECTIVES)
    assert done.verdict.outcome is Outcome.NO_DATA
    assert finding(done, "thresholds/errors").outcome is Outcome.PASS
    for one in done.verdict.findings:
        if one.source == "prometheus":
            assert one.outcome is Outcome.NO_DATA
            assert one.reason
