"""`harness fault` as a parser: a command for each fault, made from its parameters; and what can be had here."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli import fault_command
from harness.cli.main import app
from harness.core.errors import UsageError
from harness.faults.fault import Fault
from harness.faults.making import read
from harness.faults.parameters import is_main
from harness.faults.registry import FAULTS
from harness.model.stackfile import load_stackfile
from harness.report.faults import Possible, print_faults
from harness.stack.availability import Unavailable

ROOT = Path(__file__).parent.parent.parent


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["fault", *arguments])


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the command would set, in place of setting it."""
    found: list[dict[str, Any]] = []

    def hold(made: type[Fault], values: dict[str, Any], file: Path, as_json: bool) -> None:
        found.append({"fault": made.name, "stack": file, "json": as_json, **values})

    monkeypatch.setattr(fault_command, "_hold", hold)
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_command_with_help_for_each_parameter(name: str) -> None:
    done = invoke(name, "--help")
    assert done.exit_code == 0, done.output
    said = "".join(done.output.split())  # lines break anywhere
    for field, info in FAULTS[name].takes.model_fields.items():
        assert info.description and "".join(info.description.split()) in said
        word = field.upper() if is_main(FAULTS[name].takes, field) else f"--{field.replace('_', '-')}"
        assert ("--for" if field == "lasting" else word) in said
    assert f"harnessfault{name}" in said, "an example"


def test_options_are_the_parameters_and_the_main_one_has_no_name(held: list[dict[str, Any]]) -> None:
    words = ("latency", "--link", "app->milvus", "200ms", "--for", "30s", "--direction", "both", "--no-expect-traffic")
    assert invoke(*words, "--json", "--stack", "x.yaml").exit_code == 0
    assert held == [{
        "fault": "latency", "stack": Path("x.yaml"), "json": True, "link": "app->milvus", "delay": "200ms",
        "lasting": "30s", "direction": "both", "expect_traffic": False,
    }]  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_the_example_of_the_help_is_one_that_can_be_read(name: str, held: list[dict[str, Any]]) -> None:
    words = shlex.split(fault_command.example(FAULTS[name]))
    done = invoke(*words[2:], "--for", "30s")
    assert done.exit_code == 0, done.output
    (values,) = held
    given = {field: value for field, value in values.items() if field not in ("fault", "stack", "json")}
    assert read(FAULTS[name], given).lasting == "30s"


@pytest.mark.parametrize("name", FAULTS)
def test_no_parameter_is_called_as_an_option_of_every_fault(name: str) -> None:
    assert not {"stack", "json", "help", "for"} & set(FAULTS[name].takes.model_fields)


def test_what_is_not_given_is_left_to_the_model(held: list[dict[str, Any]]) -> None:
    assert invoke("reset", "--link", "a->b").exit_code == 0
    assert held == [{"fault": "reset", "stack": Path("stack.yaml"), "json": False, "link": "a->b"}]


def test_a_fault_that_there_is_none_of_is_told_with_the_nearest() -> None:
    done = invoke("latancy", "--link", "a->b")
    assert isinstance(done.exception, UsageError)
    assert done.exception.slug == "fault-unknown" and "'latency'" in done.exception.cause


def test_the_list_has_every_fault_and_what_it_can_be_put_on() -> None:
    done = invoke("list", "--json", "--stack", str(ROOT / "stack.yaml"))
    assert done.exit_code == 0, done.output
    told = {one["fault"]: one for one in json.loads(done.stdout)["faults"]}
    assert list(told) == list(FAULTS)
    assert "app->model-server" in told["latency"]["on"]


def test_what_this_machine_lacks_cannot_be_broken_and_the_reason_is_that_of_the_service() -> None:
    file, _ = load_stackfile(ROOT / "stack.yaml")
    missing = {"loki": Unavailable("go-missing", "there is no Go", "install Go")}
    found = Possible.of(FAULTS["latency"], file, missing)
    assert "app->loki" not in found.on and "app->redis" in found.on
    assert list(found.impossible) == ["app->loki"]
    assert "there is no Go" in found.impossible["app->loki"]["why"]
    assert found.impossible["app->loki"]["remedy"] == "install Go"


def test_the_list_is_readable_with_many_targets_and_gives_each_reason_once() -> None:
    from rich.console import Console

    many = tuple(f"link-{at}" for at in range(8))
    why = {"why": "loki cannot be had here: no Go", "remedy": "install Go"}
    found = [
        Possible("latency", "link", "link", many, {}),
        Possible("reset", "link", "link", many[:2], {"a": why, "b": why}),
        Possible("nothing", "data", "", (), {}),
    ]
    written = io.StringIO()
    print_faults(found, Console(width=80, file=written))
    said = written.getvalue()
    assert "every link: link-0, link-1, ... (8)" in said
    assert "not here: reset on a, b: loki cannot be had here: no Go; remedy: install Go\n" in said
    assert "nothing in this stack" in said
    assert said.endswith("from Python, harness.faults.drifted takes one\n")


def test_help_of_the_whole_command_imports_no_fault() -> None:
    code = "import sys, harness.cli.main; sys.exit(any(n.startswith('harness.faults') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
