"""The log writer never blocks a request, counts what it loses, and writes all it holds before the end."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path

from app.shared.logs import LogWriter, make_logger
from app.shared.loki import Line


def test_all_lines_are_written_in_order_before_the_end(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "log.jsonl", "ai-database", dropped=lambda _reason, _count: None)
    log = make_logger(writer, "part")
    for number in range(2_000):
        log.info("event", number=number)
    writer.close(timeout=10)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(2_000))
    assert {(line["level"], line["service"], line["component"]) for line in lines} == {("INFO", "ai-database", "part")}


def test_a_disk_that_hangs_drops_lines_and_counts_them_instead_of_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    dropped: Counter[str] = Counter()
    writer = LogWriter(pipe, "service", lambda reason, count: dropped.update({reason: count}), size=4)
    line = b"x" * 65_536  # one fills the pipe: its writer hangs from then on
    for _ in range(20):
        writer.msg(Line(0, "INFO", "part", line))
    assert set(dropped) == {"queue"}
    assert dropped["queue"] >= 20 - 4 - 4  # at most four in the queue, and what the thread had taken before it hung
    drain = threading.Thread(target=lambda: [None for _ in iter(lambda: _read(reader), b"")], daemon=True)
    drain.start()
    writer.close(timeout=10)
    os.close(reader)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except BlockingIOError:
        return b"-"
    except OSError:
        return b""


def test_a_disk_that_is_gone_is_counted(tmp_path: Path) -> None:
    dropped: list[tuple[str, int]] = []
    writer = LogWriter(Path("/dev/full"), "service", lambda reason, count: dropped.append((reason, count)))
    writer.msg(Line(0, "INFO", "part", b"line"))
    writer.close(timeout=10)
    assert dropped == [("disk", 1)]
