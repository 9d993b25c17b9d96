"""The fault catalogue measured on real services: what a pause does to the clients of what is paused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.jsonio import read_json
from harness.faults.examples import EXAMPLES, PROVOKED_BY
from harness.faults.pause import Pause
from harness.gate.catalogue import Lengths
from harness.gate.catalogue_all import measure_all
from harness.report.catalogue_files import write_page
from tests.integration.helpers import ROOT

pytestmark = pytest.mark.stack
STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: catalogued}
spec:
  timeScale: 75
  services:
    prometheus: {use: prometheus}
    alertmanager: {use: alertmanager}
  scrape: {prometheus: prometheus.http, alertmanager: alertmanager.http}
  target: alertmanager.http
"""
LENGTHS = Lengths(warmup=1, before=2, during=3, after=2, rate=20)


def test_what_a_pause_does_and_what_cannot_be_had_and_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXAMPLES, "pause", {"service": "alertmanager"})
    monkeypatch.setitem(EXAMPLES, "kill", {"service": "alertmanager"})
    monkeypatch.setitem(EXAMPLES, "scrape-dropped", {"job": "prometheus"})
    monkeypatch.setitem(PROVOKED_BY, "scrape-dropped", ("kill", {"service": "alertmanager"}))
    file = tmp_path / "stack.yaml"
    file.write_text(STACK)
    out, said = tmp_path / "catalogue", []
    out.mkdir()

    def fail(*_: object) -> Pause:
        raise HarnessError("fault-without-effect", "of no use", "None.")

    def measured(*names: str) -> dict[str, str]:
        scenario = ROOT / "tests/integration/ready_scenario.py"
        return measure_all(
            file, names, scenario=scenario, out=out, emit=lambda _: None, say=said.append, lengths=LENGTHS
        )

    with monkeypatch.context() as broken:
        broken.setattr("harness.faults.kill.Kill.on", fail)
        wrong = measured("latency", "kill", "pause")
    assert list(wrong) == ["kill"]
    assert "of no use" in wrong["kill"]
    assert "cannot be put on anything" in read_json(out / "latency.json")["missing"]

    told = read_json(out / "pause.json")
    client = told["client"]["ready"]
    assert client["before"]["count"] and not client["before"]["errors"]
    assert client["during"]["errors"]["timeout"] > client["during"]["count"] / 2
    assert client["after"]["count"] and not client["after"]["errors"]
    assert told["how"]["begin"].startswith("all its processes are stopped")
    changed = {(one["job"], one["name"]) for one in told["metrics"]["changed"]}
    assert ("alertmanager", "up") in changed
    assert "| [pause](#pause) on alertmanager | ready:" in write_page(out).read_text()
    assert (out / "pause.svg").exists()

    assert measured("scrape-dropped") == {}  # its clients see nothing of it but of what provoked it
    told = read_json(out / "scrape-dropped.json")
    assert told["client"]["ready"]["during"]["errors"]
    assert "So `kill: {service: alertmanager}` came as soon as it was in force" in write_page(out).read_text()
