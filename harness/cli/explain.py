"""`harness explain`: the line of docs/errors.md about a slug. The page travels with the command as errors.md beside
this file, which is a link to it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from harness.core.errors import UsageError

PAGE = Path(__file__).with_name("errors.md")
_ROW = re.compile(r"^\| `([a-z][a-z-]*)` \| (.*) \|$")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the page: told is column title -> text, section the heading above."""

    slug: str
    section: str
    told: dict[str, str]


def read_page(text: str) -> Iterator[Explanation]:
    """The rows of all tables of the error page."""
    section, titles = "", [""]
    for line in text.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| slug |"):
            titles = [cell.strip() for cell in line.strip("|").split("|")][1:]
        elif (row := _ROW.match(line)) is not None:
            cells = row[2].split(" | ")
            yield Explanation(row[1], section, dict(zip(titles, cells, strict=False)))


def explain(slug: str = typer.Argument(..., help="The word before the colon of a message", metavar="SLUG")) -> None:
    """Say what an error or a finding means, and what to do.

    Examples:

      harness explain too-few-samples
    """
    rows = list(read_page(PAGE.read_text(encoding="utf-8")))
    found = [row for row in rows if row.slug == slug]
    if not found:
        near = difflib.get_close_matches(slug, [row.slug for row in rows], 3, 0.5)
        remedy = f"Did you mean {' or '.join(near)}?" if near else "docs/errors.md lists them all."
        raise UsageError("slug-unknown", f"no error is called {slug!r}", remedy)
    for row in found:
        typer.echo(f"{row.slug} ({row.section[0].lower()}{row.section[1:]})")
        for title, text in row.told.items():
            typer.echo(f"  {title}: {plain(text)}")


def plain(text: str) -> str:
    """A cell without its Markdown: links as their words, code as it is."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("`", "")
