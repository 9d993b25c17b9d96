"""Every block of the documents is run, read or parsed; one that nobody knows how to check is a mistake."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.gate.plan import plan
from harness.model import threshold
from harness.model.openslo import load_objectives
from harness.model.source import load_documents
from harness.model.stackfile import load_stackfile
from harness.model.validation import PROFILES, Spec
from tests.examples import PAGES, ROOT, Block, blocks_of, commands_of, parse_harness, plain, run_harness, scratch_copy

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
# what is not run here, by how it begins, and why; `harness` and `make` are parsed all the same
NOT_RUN = {
    "harness export": "needs a run; tests/unit/test_export.py",
    "harness load": "loads a target that is there already; tests/integration/test_load_machines.py",
    "harness run": "brings the whole stack up; make slo and tests/integration do",
    "harness stack": "needs a stack that is up, or fetches servers; tests/integration has each",
    "harness fault": "breaks a stack that is up; tests/integration/test_fault_command.py",
    "harness doctor": "looks at the machine, and at paths that are examples; tests/integration/test_doctor.py",
    "harness calibrate": "loads the machine for seconds; it has integration tests of its own",
    "harness verdict": "needs a run; tests/integration/test_main_job.py",
    "harness slo budget": "asks a Prometheus; tests/integration/test_slo_budget.py",
    "make": "targets of the Makefile, which tests are part of",
    "pytest -m slo": "brings the whole stack up; its options must exist",
    "docker ": "asks an engine; make test-docker has one",
    "rm -rf": "removes the user's cache",
    "SLO_HARNESS_TOOL_PROMETHEUS=": "an example of a path; tests/unit/test_tools.py has the variables",
}
# pictures and samples that no machine can repeat to the letter, by their first line
TEXTS = {
    "vector-search-under-load: run begins": "a whole run, with its times",
    "fail      recall{name:search} avg          0.5933     >= 0.95     -38%      1020": "of a run",
    "validation.yaml ──plan──▶ gate ──up──▶ stack (supervisor, PID 1 of its own namespace)": "a picture",
    "results/<utc>-<name>-<id>/": "the layout of a run directory",
    "FROM python:3.11-slim": "an image, which no container runtime here can build",
}
VALIDATION = """\
apiVersion: harness/v1
kind: Validation
metadata: {name: fragment}
spec:
"""
REST = {
    "scenario": "  scenario: scenarios/vector_search.py\n",
    "load": "  load: {executor: constant-arrival-rate, rate: 60, duration: 60s}\n",
    "thresholds": '  thresholds: {errors: ["rate<1%"]}\n',
    "objectives": "  objectives: [vector_search.openslo.yaml]\n",
}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project on a machine that lacks nothing and has measured nothing."""
    scratch_copy(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = tmp_path / "program"  # each server is there, whatever this machine has; none is started
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    for name in tomllib.loads((ROOT / "harness/stack/tools.toml").read_text())["tool"]:
        monkeypatch.setenv("SLO_HARNESS_TOOL_" + name.upper().replace("-", "_"), str(program))
    return tmp_path


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.id)
def test_the_examples_in_the_documents_hold(block: Block, scratch: Path, pytestconfig: pytest.Config) -> None:
    if block.kind in ("sh", "console"):
        for command in commands_of(block):
            _shell(block, command.words, command.said, command.wanted, command.output, pytestconfig)
    elif block.kind == "yaml":
        _yaml(block.text, scratch)
    elif block.kind == "python" and "locust" in block.text:  # which patches the sockets of its whole process
        done = subprocess.run([sys.executable, "-c", block.text], capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
    elif block.kind == "python":
        exec(compile(block.text, block.id, "exec"), {"__name__": "example"})
    elif block.kind == "ebnf":
        assert threshold.__doc__ is not None
        assert [line.strip() for line in block.text.splitlines() if line.strip() not in threshold.__doc__] == []
    else:
        first = block.text.strip().splitlines()[0]
        assert first in TEXTS, f"{block.id}: nobody checks this block; is it sh, console, yaml or python?"


def _left_out(said: str) -> bool:
    return said.startswith(tuple(NOT_RUN))


def _shell(
    block: Block, words: tuple[str, ...], said: str, wanted: int, output: str, pytestconfig: pytest.Config
) -> None:
    if words[0] == "harness":
        parse_harness(words[1:])
    elif words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[0] == "pytest":
        for word in words:
            assert not word.startswith("--") or pytestconfig.getoption(word) is not None
    if _left_out(said):
        return
    assert words[0] == "harness", f"{block.id}: {said} is neither run nor on the list of what is not"
    code, told = run_harness(words[1:])
    assert code == wanted, told
    if block.kind == "console":
        assert plain(told) == plain(output)


def _yaml(text: str, scratch: Path) -> None:
    path = scratch / "slos" / "example.yaml"
    if "apiVersion:" not in text:  # a part of a validation
        path.write_text(text)
        (document,) = load_documents(path)
        assert set(document.data) <= set(Spec.model_fields), "a part of spec"
        inside = "".join(f"  {line}\n" for line in text.splitlines())
        path.write_text(VALIDATION + inside + "".join(more for name, more in REST.items() if name not in document.data))
    else:
        path.write_text(text)
    (document, *_) = load_documents(path)
    if document.data["apiVersion"] == "locust.cloud/v1":  # what Locust's operator makes of it
        own = shlex.split(document.data["spec"]["args"])
        for given in (["--master"], ["--worker", "--master-host", "vector-search-master"]):
            parse_harness(("load", *given, *own))
    elif document.data["apiVersion"] == "openslo/v1":
        assert load_objectives(path)
    elif document.data["kind"] == "Stack":
        load_stackfile(path)
    else:
        for profile in PROFILES:
            assert plan(path, profile)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_page_has_an_example_that_runs(page: Path) -> None:
    blocks = blocks_of(page)
    commands = [command.said for block in blocks if block.kind in ("sh", "console") for command in commands_of(block)]
    run = [said for said in commands if not _left_out(said)]
    assert run or any(block.kind in ("yaml", "python") for block in blocks), f"{page.name} shows nothing that is run"


def test_what_is_not_run_is_still_in_the_documents() -> None:
    said = [command.said for block in BLOCKS if block.kind == "sh" for command in commands_of(block)]
    assert [known for known in NOT_RUN if not any(one.startswith(known) for one in said)] == []
    shown = [block.text.strip().splitlines()[0] for block in BLOCKS]
    assert [first for first in TEXTS if first not in shown] == []
