"""`harness doctor` on this machine, as a user meets it."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.model.stackfile import load_stackfile
from harness.stack.machine.check import NAMES
from harness.stack.machine.examine import Subject, examine
from tests.integration.helpers import ROOT, harness, write_validation
from tests.integration.lacking import without_milvus

TWO = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: two}
spec:
  services:
    prometheus: {use: prometheus}
    milvus: {use: milvus}
    milvus-probe: {job: ["true"], needs: [milvus]}
    web: {command: [python, -m, http.server], ports: {http: 18571}, after: [milvus]}
  scrape: {milvus: milvus.metrics}
  target: web.http
"""
TINY = """\
apiVersion: harness/v1
kind: Stack
metadata: {{name: tiny}}
spec:
  services: {{redis: {{use: redis, ports: {{resp: {port}}}}}}}
  target: redis.resp
"""
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: searches}
spec:
  service: milvus
  indicator:
    metadata: {name: searches}
    spec:
      thresholdMetric:
        metricSource: {type: Prometheus, spec: {query: 'up{job="milvus"}'}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: up, op: gte, value: 1, target: 0.99}]
"""


def asked(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """Exit code and data of `harness doctor --json`."""
    done = harness("doctor", "--json", *arguments, cwd=cwd, env=env)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def empty(tmp_path: Path) -> dict[str, str]:
    """An environment in which no program is to be found: neither on PATH nor in the cache."""
    (tmp_path / "nothing").mkdir()
    return {"PATH": str(tmp_path / "nothing"), "XDG_CACHE_HOME": str(tmp_path / "nothing")}


def two_validations(tmp_path: Path) -> None:
    """One that needs Milvus, and one of whose two promises one is Milvus's."""
    (tmp_path / "stack.yaml").write_text(TWO)
    (tmp_path / "scenario.py").write_text("")
    (tmp_path / "slos").mkdir()
    (tmp_path / "slos/searches.openslo.yaml").write_text(SLO)
    common: dict[str, Any] = {"stack": tmp_path / "stack.yaml", "scenario": tmp_path / "scenario.py"}
    write_validation(tmp_path / "slos", name="searches", needs="[milvus-probe]", **common)
    write_validation(tmp_path / "slos", name="pages", needs="[web]", objectives="[searches.openslo.yaml]", **common)


def test_the_checks_of_this_machine_are_those_of_the_page_in_that_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@proxy")
    (tmp_path / "stack.yaml").write_text(TWO)
    found = examine(Subject(tmp_path / "stack.yaml", load_stackfile(tmp_path / "stack.yaml")[0]), seconds=0.02)
    assert [check.name for check in found.checks] == list(NAMES)
    assert "secret" not in str(found)
    assert all(check.remedy for check in found.checks if check.state != "ok")
    assert [one.service for one in found.services] == ["prometheus", "milvus", "milvus-probe", "web"]
    alone = examine(None, seconds=0.02)
    assert [check.name for check in alone.checks] == [name for name in NAMES if name not in ("programs", "runtime")]
    assert not alone.services


@pytest.mark.stack  # it wants the real servers
def test_the_reference_stack_is_looked_at_with_its_validations(tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path)}
    code, told = asked(str(ROOT / "stack.yaml"), cwd=tmp_path, env=state)
    assert code == 0, told["summary"]
    assert told["fit"] is True
    assert {check["name"] for check in told["checks"]} >= set(NAMES) - {"environment"}
    services = {one["service"]: one for one in told["services"]}
    assert services.keys() == load_stackfile(ROOT / "stack.yaml")[0].spec.services.keys()
    assert [program["name"] for program in services["postgres"]["programs"]] == ["postgres", "initdb"]
    assert all(program["version"][0].isdigit() for program in services["postgres"]["programs"])
    assert {one["state"] for one in told["validations"]} == {"runs"}
    assert "vector-search-under-load" in {one["name"] for one in told["validations"]}
    assert told["summary"].startswith(f"all {len(told['validations'])} validations will run")

    shown = harness("doctor", cwd=ROOT, env={**state, "COLUMNS": "80"})
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for word in ("postgres-exporter", "vector-search-under-load", "will run", "isolation", "memory"):
        assert word in shown.stdout
    tables = [line for line in shown.stdout.splitlines() if "remedy: " not in line][:-1]
    assert max(map(len, tables)) <= 80


def test_on_a_machine_without_programs_all_is_not_validated_and_every_line_says_what_to_do(tmp_path: Path) -> None:
    if any((Path(place) / "redis-server").exists() for place in ("/usr/bin", "/usr/local/bin")):
        pytest.skip("this machine has a Redis of its own, which cannot be hidden")
    done = harness("doctor", str(ROOT / "stack.yaml"), cwd=tmp_path, env=empty(tmp_path))
    assert done.returncode == 3, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("not-validated: vector-search-under-load")]
    assert ": milvus: milvus (Milvus; wheel milvus) is neither on PATH nor in " in line
    assert "remedy: run `harness stack install --yes`" in line
    last = done.stdout.splitlines()[-1]
    assert last.startswith("0 of ") and "vector-search-under-load (milvus)" in last
    assert "flock is not installed" in done.stdout  # PATH is empty, and a stack needs that too
    assert "Traceback" not in done.stderr


def test_what_lacks_a_server_is_not_validated_alone_and_single_objectives_too(tmp_path: Path) -> None:
    two_validations(tmp_path)
    code, told = asked(cwd=tmp_path, env=without_milvus(tmp_path))
    assert code == 3
    assert told["fit"] is False
    pages, searches = told["validations"]
    assert (pages["name"], pages["state"]) == ("pages", "runs")
    assert [one["name"] for one in pages["objectives"]] == ["searches/up"]
    assert "it needs milvus" in pages["objectives"][0]["why"] and "install" in pages["objectives"][0]["remedy"]
    assert (searches["name"], searches["state"]) == ("searches", "not-validated")
    assert [one["name"] for one in searches["lacks"]] == ["milvus"]
    assert told["summary"].startswith(
        "1 of 2 validations will run; 1 will be not-validated: searches (milvus); "
        "1 objective will be not-validated: searches/up"
    )
    services = {one["service"]: one for one in told["services"]}
    assert (services["milvus"]["slug"], services["milvus-probe"]["slug"]) == ("missing-binary", "needs-unavailable")
    assert services["web"]["programs"][0]["path"] == sys.executable
    one = asked("--validations", "slos/searches.yaml", cwd=tmp_path)[1]
    assert [validation["name"] for validation in one["validations"]] == ["searches"]


def test_a_fixed_port_that_is_taken_keeps_every_validation_from_running(tmp_path: Path) -> None:
    two_validations(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "stack.yaml").write_text(TWO.replace("18571", str(port)))
        code, told = asked(cwd=tmp_path, env=without_milvus(tmp_path))
    assert code == 3
    (ports,) = [check for check in told["checks"] if check["name"] == "ports"]
    assert (ports["state"], ports["numbers"]["taken"]) == ("problem", {"web.http": port})
    assert f"process {os.getpid()}" in ports["found"]
    assert [one["state"] for one in told["validations"]] == ["error", "not-validated"]


@pytest.mark.stack
def test_a_stack_that_is_up_is_no_obstacle_until_its_file_changes(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (tmp_path / "stack.yaml").write_text(TINY.format(port=port))
    up = harness("stack", "up", cwd=tmp_path, env=env)
    assert up.returncode == 0, up.stderr
    try:
        code, told = asked(cwd=tmp_path, env=env)
        checks = {check["name"]: check for check in told["checks"]}
        (stack,) = checks["stacks"]["numbers"]["stacks"]
        assert (code, checks["ports"]["state"], checks["stacks"]["state"]) == (0, "ok", "ok")
        assert checks["memory"]["numbers"]["needed"] is None  # it has taken what it needs
        assert stack["usable"] and "runs will use it" in checks["stacks"]["found"]
        with (tmp_path / "stack.yaml").open("a") as file:
            file.write("# changed\n")
        code, told = asked(cwd=tmp_path, env=env)
        checks = {check["name"]: check for check in told["checks"]}
        assert (code, checks["ports"]["state"], checks["stacks"]["state"]) == (3, "problem", "warning")
        assert checks["ports"]["remedy"] == checks["stacks"]["remedy"] == f"harness stack down {stack['id']}"
    finally:
        harness("stack", "down", cwd=tmp_path, env=env)


def test_outside_a_project_the_machine_alone_is_looked_at(tmp_path: Path) -> None:
    done = harness("doctor", cwd=tmp_path, env={"XDG_STATE_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("no stack.yaml here: the machine alone is looked at\n")
    assert "no validation was looked at; the machine is fit" in done.stdout
    code, told = asked(cwd=tmp_path, env={"XDG_STATE_HOME": str(tmp_path)})
    assert (code, told["stack"], told["services"], told["validations"]) == (0, None, [], [])


@pytest.mark.parametrize(
    ("break_it", "arguments", "said"),
    [
        (("slos/pages.yaml", "rate: 40", "rate: much"), [], "pages.yaml:7:49: bad-value"),
        (("stack.yaml", "use: milvus", "use: milvsu"), [], "did you mean 'milvus'"),
        (("stack.yaml", "{use: prometheus}", "{use: prometheus, config: no.yml}"), [], "file-missing"),
        (None, ["nowhere.yaml"], "file-unreadable"),
        (None, ["--validations", "nowhere"], "file-unreadable"),
        (None, ["--validations", "empty"], "no-validations"),
    ],
)
def test_what_cannot_be_read_is_a_located_error_and_exit_2(
    tmp_path: Path, break_it: tuple[str, str, str] | None, arguments: list[str], said: str
) -> None:
    two_validations(tmp_path)
    (tmp_path / "empty").mkdir()
    if break_it is not None:
        name, old, new = break_it
        text = (tmp_path / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new))
    done = harness("doctor", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr and "remedy: " in done.stderr
    assert done.stdout == ""


def test_help_shows_how_it_is_used(tmp_path: Path) -> None:
    for words, example in ((["doctor"], "harness doctor --validations"), (["stack", "logs"], "harness stack logs app")):
        done = harness(*words, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert example in done.stdout
