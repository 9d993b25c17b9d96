"""The proof of the load engine: what could not be measured has not held, and says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.jsonio import read_json
from tests.proofs import load
from tests.proofs.load_http import MUST, _row
from tests.proofs.load_laws import LAWS
from tests.proofs.load_peers import supply


def side(rate: float, cpu_us: float, busy: float = 1.0) -> dict[str, float]:
    return {"rate": rate, "cpu_us": cpu_us, "busy": busy}


def rounds(theirs: dict[str, float], peer: str, kind: str, count: int = 3) -> list[dict[str, Any]]:
    return [{"kind": kind, "own": side(20_000, 40), peer: theirs} for _ in range(count)]


def test_a_ratio_is_taken_within_rounds_and_both_sides_are_told() -> None:
    row = _row("FastHttpUser CPU, POST", rounds(side(4000, 300), "locust", "post"), {})
    assert (row["ratio"], row["ours"], row["theirs"], row["held"]) == (7.5, 40, 300, True)
    row = _row("wrk -t1 -c32, POST", rounds(side(80_000, 12), "wrk", "post"), {})
    assert (row["ratio"], row["held"], row["must"]) == (0.25, False, 0.35)


@pytest.mark.parametrize("name", MUST)
def test_a_peer_that_cannot_be_had_is_named_and_has_not_held(name: str) -> None:
    peer, _, kind, _ = MUST[name]
    other = "wrk" if peer != "wrk" else "k6"
    row = _row(name, rounds(side(1, 1), other, kind), {peer: "there is no Go"})
    assert row["held"] is None and row["not_measured"] == "there is no Go" and "ratio" not in row


def test_rates_of_clients_that_did_not_have_their_core_prove_nothing() -> None:
    disturbed = rounds(side(10, 12, busy=0.1), "wrk", "post", 2)
    row = _row("wrk -t1 -c32, POST", disturbed + rounds(side(80_000, 12), "wrk", "post", 1), {})
    assert row["held"] is None and "2 of 3 rounds" in row["not_measured"]


def test_what_cannot_be_fetched_has_a_reason() -> None:
    def nowhere() -> str:
        raise supply.NotHere("no network")

    assert supply.have({"a": nowhere, "b": lambda: "/bin/b"}) == ({"b": "/bin/b"}, {"a": "no network"})


def test_a_part_that_ends_without_a_result_has_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "load.json"
    monkeypatch.setattr(sys, "argv", ["load", "--only", "recorder", "--out", str(out)])
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, -9))
    assert load.main() == 1
    assert read_json(out)["recorder"]["held"] is None
    told = capsys.readouterr().out
    assert "NOT MEASURED recorder, all of it" in told and "ended with -9" in told and "left out" in told


@pytest.mark.parametrize("law", LAWS)
def test_laws_ascend_and_are_latencies(law: str) -> None:
    times = LAWS[law](np.linspace(0.0005, 0.9995, 999))
    assert (np.diff(times) >= 0).all() and times[0] > 0 and times[-1] <= 5
