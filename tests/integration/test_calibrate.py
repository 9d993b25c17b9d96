"""Calibrating this machine for real, and watching it: a stall that happens is seen, a watcher that ends is told."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.jsonio import read_json, write_json
from harness.gate.calibrate import null_service
from harness.gate.calibrations import VARIABLE, calibration_path, find_calibration
from harness.gate.machine import machine_watched
from harness.model.calibration import Calibration
from harness.model.events import Event, LogEvent
from harness.model.machine import MachineRecord
from harness.model.threshold import parse_threshold
from harness.results.rundir import RunDir
from harness.stack.machine.watcher import PERIOD_NS, Watcher
from tests.integration.helpers import harness

pytestmark = pytest.mark.stack
SECOND = 1_000_000_000


@pytest.fixture(scope="module", autouse=True)
def in_the_cache() -> Iterator[None]:
    """Calibrations where a user has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE)
        yield


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, Any]]:
    """A cache with the calibration of two seconds, the exit code and what was printed."""
    cache = tmp_path_factory.mktemp("cache")
    done = harness("calibrate", "--seconds", "2", "--json", cwd=cache, env={"XDG_CACHE_HOME": str(cache)})
    assert done.returncode in (0, 3), done.stderr
    assert "calibration for 3 s" in done.stderr
    return cache, done.returncode, json.loads(done.stdout)


@pytest.fixture
def in_cache(calibrated: tuple[Path, int, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Calibration:
    """The calibration as a run finds it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(calibrated[0]))
    found = find_calibration()
    assert found.calibration is not None, found.ignored
    return found.calibration


def test_it_measures_and_keeps_the_noise_floor(
    calibrated: tuple[Path, int, dict[str, Any]], in_cache: Calibration
) -> None:
    _, code, told = calibrated
    assert (code == 3) == bool(told["disturbances"])
    assert told["latency"]["samples"] == told["service_time"]["samples"] == in_cache.latency.count == 120
    assert 0 < told["service_time"]["p50"] <= told["latency"]["p50"] <= told["latency"]["max"]
    assert in_cache.latency.quantile(0.99) / 1e9 == told["latency"]["p99"]
    assert told["lateness"]["samples"] == 120 and told["stalls"]["samples"] > 100
    assert told["steal"] is None or 0 <= told["steal"] <= 1
    assert told["machine"]["cpus"] > 0 and told["machine"]["boot_id"]


def test_one_of_another_boot_is_left_alone_and_that_is_said(in_cache: Calibration, tmp_path: Path) -> None:
    other = replace(in_cache, machine=replace(in_cache.machine, boot_id="before"))
    write_json(calibration_path(), other.as_dict())
    run, said = RunDir.create(tmp_path, "run"), list[Event]()
    try:
        with machine_watched(run, [], said.append):
            pass
    finally:
        write_json(calibration_path(), in_cache.as_dict())
    assert not (run.evidence / "calibration.json").exists()
    assert [one.message.partition(";")[0] for one in said if isinstance(one, LogEvent)] == [
        "the calibration is not used: this machine was started anew since, or it is of another one like it"
    ]


def test_a_run_keeps_what_it_used_and_saw_however_it_ends(in_cache: Calibration, tmp_path: Path) -> None:
    run, said = RunDir.create(tmp_path, "run"), list[Event]()
    tight = parse_threshold("latency{name:search}", "p(99)<1ns")
    with (
        pytest.raises(KeyboardInterrupt),
        machine_watched(run, [tight, parse_threshold("latency", "p(99)<1m")], said.append) as watcher,
    ):
        _lines(watcher, run, 1)
        raise KeyboardInterrupt
    assert Calibration.from_dict(run.read("evidence/calibration.json")) == in_cache
    seen = MachineRecord.from_dict(run.read("evidence/machine.json"))
    assert (seen.ended, seen.period_ns) == ("", PERIOD_NS) and seen.readings
    assert sorted(path.name for path in run.evidence.iterdir()) == ["calibration.json", "machine.json"]
    (warning,) = said
    assert isinstance(warning, LogEvent) and "p(99)<1ns is tighter than the noise floor" in warning.message


def test_a_process_that_is_held_up_has_stalled(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "run")
    before = time.time_ns()
    with machine_watched(run, [], lambda event: None) as watcher:
        _lines(watcher, run, 1)
        assert watcher.pid is not None
        os.kill(watcher.pid, signal.SIGSTOP)
        _until(lambda: _state(watcher.pid) == "T")
        time.sleep(0.3)  # the stall itself
        os.kill(watcher.pid, signal.SIGCONT)
        _lines(watcher, run, 4)
    seen = MachineRecord.from_dict(run.read("evidence/machine.json"))
    longest = max(seen.stalls(before, time.time_ns()), key=lambda one: one.length_ns)
    assert longest.length_ns >= 0.3 * SECOND - PERIOD_NS
    assert before < longest.start_wall_ns < time.time_ns() - longest.length_ns


def test_a_watcher_that_is_killed_has_not_seen_the_end(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "run")
    with machine_watched(run, [], lambda event: None) as watcher:
        _lines(watcher, run, 1)
        assert watcher.pid is not None
        os.kill(watcher.pid, signal.SIGKILL)
    seen = MachineRecord.from_dict(run.read("evidence/machine.json"))
    assert seen.ended == "killed by SIGKILL" and seen.readings


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from harness.stack.machine.watcher import Watcher\n"
        "w = Watcher(Path(sys.argv[1])); w.start(); print(w.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "w.jsonl")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    _until(lambda: _state(int(done.stdout)) in ("", "Z"))


def test_the_null_service_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    with null_service(tmp_path / "null.log") as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        for method, body in (("GET", None), ("POST", b"x" * 100_000), ("HEAD", None), ("PUT", iter([b"a", b"b"]))):
            connection.request(method, "/any?thing", body)
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (200, b"" if method == "HEAD" else b"{}")
        connection.close()
        broken = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        broken.connect()
        broken.sock.sendall(b"\x00\x01 nonsense\r\n\r\n")
        assert broken.sock.recv(100) == b""
        broken.close()
    assert (tmp_path / "null.log").read_text() == ""


def _lines(watcher: Watcher, run: RunDir, least: int) -> None:
    """Wait until it has said so many lines beside the first."""
    out = run.evidence / ".machine.jsonl"
    _until(lambda: out.exists() and out.read_bytes().count(b"\n") > least)


def _until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _state(pid: int | None) -> str:
    """The letter of a process' state, or '' when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def test_the_record_of_a_calibration_can_be_read_by_anybody(in_cache: Calibration) -> None:
    stored = read_json(calibration_path())
    assert stored["schema"] == 1 and stored["harness"] and stored["wall_ns"] == in_cache.wall_ns
