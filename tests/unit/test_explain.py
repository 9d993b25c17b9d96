"""Each slug is explained by the row of the error page, which the package carries."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from harness.cli.explain import PAGE, read_page
from harness.cli.main import app
from harness.core.errors import UsageError
from tests.unit.test_docs import ROOT, slugs_in_docs

RUN = CliRunner()


def test_the_package_carries_the_page_itself() -> None:
    assert PAGE.resolve() == ROOT / "docs/errors.md"
    assert PAGE.read_bytes() == (ROOT / "docs/errors.md").read_bytes()


def test_every_slug_of_the_page_is_explained_in_full() -> None:
    rows = list(read_page(PAGE.read_text(encoding="utf-8")))
    assert {row.slug for row in rows} == slugs_in_docs()
    assert [row.slug for row in rows if len(row.told) != 2 or not all(row.told.values())] == []
    assert [row.slug for row in rows if any(" | " in text for text in row.told.values())] == []


def test_a_row_is_printed_without_its_markdown() -> None:
    done = RUN.invoke(app, ["explain", "threshold-syntax"])
    assert done.exit_code == 0
    assert done.output == (
        "threshold-syntax (in your files (usage, before anything starts))\n"
        "  what happened: a threshold does not follow the grammar\n"
        "  what to do: correct it at the caret\n"
    )
    finding = RUN.invoke(app, ["explain", "generator-saturated"]).output
    assert re.search(r"^  outcome: error$", finding, re.MULTILINE)


def test_an_unknown_slug_names_the_nearest() -> None:
    done = RUN.invoke(app, ["explain", "treshold-unit"])
    assert isinstance(done.exception, UsageError)
    assert done.exception.slug == "slug-unknown"
    assert done.exception.remedy.startswith("Did you mean threshold-unit")
    other = RUN.invoke(app, ["explain", "zzzzzz"])
    assert isinstance(other.exception, UsageError)
    assert other.exception.remedy == "docs/errors.md lists them all."
