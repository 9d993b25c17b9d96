"""The webhook sink as a process: every notification is kept with its time and its receiver, or Alertmanager is told."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from harness.telemetry.alerts import copy_notifications
from tests.integration import sinks
from tests.integration.sinks import Running

running = partial(sinks.running, "webhook_sink")


def notify(sink: Running, receiver: str, payload: Any) -> tuple[int, bytes]:
    return sink.ask("POST", f"/notify/{receiver}", json.dumps(payload).encode(), {"content-type": "application/json"})


def test_a_notification_is_kept_with_its_receiver_and_its_times(tmp_path: Path) -> None:
    with running(tmp_path / "deep" / "notifications.jsonl") as sink:
        wall, mono = time.time_ns(), time.monotonic_ns()
        payload = {"version": "4", "status": "firing", "alerts": [{"labels": {"alertname": "A", "x": "\u00fc"}}]}
        assert notify(sink, "on%20call", payload)[0] == 200
        (line,) = sink.lines()  # there as soon as it is answered
        assert (line["receiver"], line["payload"]) == ("on call", payload)
        assert wall <= line["received_ns"] <= time.time_ns()
        assert mono <= line["received_mono_ns"] <= time.monotonic_ns()
        assert sink.stats()["received"] == 1


def test_what_is_no_notification_is_refused_and_counted(tmp_path: Path) -> None:
    with running(tmp_path / "n.jsonl") as sink:
        assert sink.ask("POST", "/notify/oncall", b"{not json")[0] == 400
        assert notify(sink, "oncall", ["a", "list"])[0] == 400
        assert sink.ask("GET", "/notify/oncall")[0] == 405
        assert sink.ask("POST", "/notify/")[0] == 404
        assert sink.ask("POST", "/elsewhere")[0] == 404
        assert sink.lines() == []
        assert sink.stats() | {"bytes": 0} == {"received": 0, "refused": 2, "lost": 0, "bytes": 0, "file": 0}


def test_a_full_file_makes_alertmanager_try_again_and_tears_no_line(tmp_path: Path) -> None:
    with running(tmp_path / "n.jsonl", ["--max-bytes", "400"]) as sink:
        answers = [notify(sink, "oncall", {"n": n, "pad": "x" * 50})[0] for n in range(6)]
        kept = answers.count(200)
        assert answers == [200] * kept + [507] * (6 - kept) and 0 < kept < 6
        assert [line["payload"]["n"] for line in sink.lines()] == list(range(kept))
        assert sink.stats()["lost"] == 6 - kept
    with running(tmp_path / "full.jsonl", file_size=100) as sink:  # the disk says no
        assert notify(sink, "oncall", {"pad": "x" * 200})[0] == 507
        assert sink.lines() == []


def test_a_burst_of_connections_is_taken_whole(tmp_path: Path) -> None:
    with running(tmp_path / "n.jsonl") as sink, ThreadPoolExecutor(100) as pool:
        statuses = list(pool.map(lambda n: notify(sink, "oncall", {"n": n})[0], range(300)))
        assert set(statuses) == {200}
        assert sorted(line["payload"]["n"] for line in sink.lines()) == list(range(300))


def test_a_run_takes_the_notifications_of_its_own_time(tmp_path: Path) -> None:
    source, kept = tmp_path / "n.jsonl", tmp_path / "run" / "n.jsonl"
    lines = [b'{"received_ns": %d, "receiver": "oncall"}\n' % ns for ns in (1, 5, 9)]
    source.write_bytes(b"".join(lines) + b'{"received_ns": 6, "rec')
    assert copy_notifications(source, kept, 2, 9) == 2
    assert kept.read_bytes() == lines[1] + lines[2]
    assert copy_notifications(tmp_path / "nowhere", kept, 0, 9) == 0
