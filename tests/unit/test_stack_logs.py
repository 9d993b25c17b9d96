"""`harness stack logs` on files: which lines are the last, which are new, and what a terminal may not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.stack.logs import Follower, LoggedStack, last_lines, printable


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"plain\ttext \xc3\xa4", "plain\ttext ä"),
        (b"\x1b[1;31mred\x1b[0m and not", "red and not"),
        (b"\x1b]0;a new title\x07\x1b[2J", "\\x1b]0;a new title\\x07\\x1b[2J"),
        ("over\u202etxt.exe".encode(), "over\\u202etxt.exe"),
        (b"progress 1\rprogress 2\r", "progress 1\\rprogress 2"),
        (b"\xff\xfe", "��"),
        (b"\xc2\x9b31m", "\\x9b31m"),
    ],
)
def test_nothing_that_a_terminal_obeys_comes_through(said: bytes, shown: str) -> None:
    assert printable(said) == shown


def test_the_last_lines_are_found_in_files_of_any_size(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert last_lines(path, 3) == []
    path.write_bytes(b"")
    assert last_lines(path, 3) == []
    path.write_bytes(b"".join(b"%d %s\n" % (number, b"x" * 200) for number in range(2000)) + b"half a line")
    assert [line.split(" ")[0] for line in last_lines(path, 3)] == ["1998", "1999", "half"]
    assert len(last_lines(path, 1500)) == 1500
    assert len(last_lines(path, 10_000)) == 2001
    assert last_lines(path, 0) == []


@pytest.fixture
def logged(tmp_path: Path) -> LoggedStack:
    for name in ("app/app.log", "app/app.jsonl", "app/spans.jsonl", "links/links.log", "artefact.x/artefact.x.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first\nsecond\n")
    (tmp_path / "app/tmp").mkdir()
    (tmp_path / "app/000005.log").write_text("of a store, not of a service\n")
    (tmp_path / "supervisor.log").write_text("started\n")
    return LoggedStack(tmp_path, False, 0, {})


def test_whatever_has_a_log_can_be_asked_for_and_evidence_is_no_log(logged: LoggedStack) -> None:
    assert logged.names == ["app", "artefact.x", "links", "supervisor"]
    assert [path.name for path in logged.files("app")] == ["app.log", "app.jsonl"]
    assert [path.name for path in logged.files("supervisor")] == ["supervisor.log"]


@pytest.fixture
def follower(logged: LoggedStack) -> Iterator[Follower]:
    one = Follower(logged, "app")
    yield one
    one.close()


def test_following_hands_out_whole_lines_as_they_come(follower: Follower, tmp_path: Path) -> None:
    log = tmp_path / "app/app.log"
    with log.open("a") as file:
        file.write("thi")
    begun = {path.name: lines for path, lines in follower.begin(1)}
    assert begun == {"app.log": ["second"], "app.jsonl": ["second"]}
    assert list(follower.added()) == []
    with log.open("a") as file:
        file.write("rd\nfour")
    (tmp_path / "app/more.jsonl").write_text("new\n")
    assert [(path.name, lines) for path, lines in follower.added()] == [("app.log", ["third"]), ("more.jsonl", ["new"])]
    log.write_text("anew\n")  # a service that begins its log again
    assert [lines for path, lines in follower.added() if path == log] == [["four", "anew"]]


def test_what_came_before_the_end_is_handed_out_though_the_files_are_gone(follower: Follower, tmp_path: Path) -> None:
    list(follower.begin(0))
    log = tmp_path / "app/app.log"
    with log.open("a") as file:
        file.write("last words\nand half a w")
    log.unlink()
    assert [lines for _, lines in follower.added(final=True)] == [["last words", "and half a w"]]
