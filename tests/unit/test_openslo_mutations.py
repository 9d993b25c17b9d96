"""Documents that somebody's fingers slipped in are read or refused with a message that says where: no traceback."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.model.openslo import load_objectives

VALID = sorted((Path(__file__).parent.parent.parent / "docs/openslo/valid").glob("*.yaml"))
SPLICES = ("*a", "&a", "<<: *x", "[", "}", "- ", ": ", "|", "null", "1e999", ".nan", "{}", "[]", "!!binary x", "\t",
           "'", '"', "2026-13-40", "\u2028", "\U0001f600")  # fmt: skip


def mutated(text: str, dice: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(lines))
        match dice.randrange(6):
            case 0:
                del lines[at]
                lines = lines or ["\n"]
            case 1:
                lines.insert(at, dice.choice(lines))
            case 2:
                lines[at] = dice.choice((" ", "  ", "    ")) + lines[at]
            case 3:
                where = dice.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:where] + dice.choice(SPLICES) + lines[at][where:]
            case 4:
                words = list(re.finditer(r"[\w.$-]+", lines[at]))
                if words:
                    word = dice.choice(words)
                    lines[at] = lines[at][: word.start()] + dice.choice(SPLICES) + lines[at][word.end() :]
            case 5:
                where = dice.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:where] + lines[at][where + 1 :]
    return "".join(lines)


@pytest.mark.parametrize("seed", range(5))
def test_a_mutated_document_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    path = tmp_path / "mutated.yaml"
    for _ in range(20):
        path.write_text(mutated(dice.choice(VALID).read_text(), dice), encoding="utf-8")
        try:
            load_objectives(path)
        except UsageError as error:
            assert error.cause
            assert error.remedy
            assert error.location is not None or error.slug in ("yaml-syntax", "file-empty"), error.render()


def test_a_document_that_holds_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    for part in (
        "spec: &a {indicator: *a}",
        "spec: &a {objectives: [*a]}",
        "metadata: &a {labels: *a}",
        "spec: &a [*a]",
    ):
        path.write_text(f"apiVersion: openslo/v1\nkind: SLO\n{part}\n")
        with pytest.raises(UsageError):
            load_objectives(path)
