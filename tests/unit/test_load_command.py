"""`harness load`: what is refused before anything is started, and who makes the load."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.gate.plan import plan, with_workers
from tests.examples import run_harness

ROOT = Path(__file__).parents[2]
VALIDATION = """\
apiVersion: harness/v1
kind: Validation
metadata: {name: closed}
spec:
  scenario: scenario.py
  load: {executor: constant-users, users: 3, warmup: 1s, duration: 5s}
  thresholds: {errors: ["rate<1%"]}
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("load",), "FILE is missing"),
        (("load", "slos/x.yaml"), "--host is missing"),
        (("load", "slos/x.yaml", "--host", "somewhere"), "--host somewhere"),
        (("load", "--master", "--worker"), "Be one of them"),
        (("load", "slos/no-such-file.yaml", "--host", "http://127.0.0.1:1"), "no-such-file.yaml"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], said: str) -> None:
    code, told = run_harness(words)
    assert code == 2 and said in told


def test_users_have_no_timetable_that_others_could_take_over(tmp_path: Path) -> None:
    for name, text in (("v.yaml", VALIDATION), ("scenario.py", ""), ("stack.yaml", "")):
        (tmp_path / name).write_text(text)
    words = ("load", str(tmp_path / "v.yaml"), "--host", "http://127.0.0.1:1", "--enable-rebalancing")
    code, told = run_harness(words)
    assert code == 2 and "--enable-rebalancing with constant-users" in told


@pytest.mark.parametrize(("asked", "made"), [(0, 1), (3, 3)])
def test_the_command_line_says_how_many_workers_there_are(asked: int, made: int) -> None:
    (planned,) = plan(ROOT / "slos" / "vector_search.yaml")
    load = with_workers(planned, asked).validation.load
    assert load.plan().workers == load.as_dict()["workers"] == made
