"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.faults.registry import FAULTS
from harness.load.reply import OUTCOMES
from harness.model import threshold

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted((ROOT / "harness").rglob("*.py"))
# first argument of HarnessError, UsageError and Unavailable, second of Document.error, and slug="..." of findings
_SLUG = r'"([a-z]+(?:-[a-z]+)+)"'
_RAISED = re.compile(
    rf"(?:HarnessError|UsageError|Unavailable)\(\s*f?{_SLUG}|\.error\(\s*.{{0,80}}?,\s*{_SLUG}|slug ?= ?{_SLUG}",
    re.DOTALL,
)


def slugs_in_code() -> set[str]:
    return {next(filter(None, match)) for path in SOURCES for match in _RAISED.findall(path.read_text())}


def slugs_in_docs() -> set[str]:
    return set(re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE))


def test_every_slug_has_its_line_in_the_error_page() -> None:
    assert sorted(slugs_in_code() - slugs_in_docs()) == []
    assert sorted(slugs_in_docs() - slugs_in_code() - {"internal", "interrupted"}) == []


def test_the_grammar_in_the_docs_is_the_one_in_the_code() -> None:
    assert threshold.__doc__ is not None
    rules = [line.strip() for line in threshold.__doc__.splitlines() if re.match(r"\s+[a-z, ]+= ", line)]
    assert len(rules) == 10
    page = (ROOT / "docs/thresholds.md").read_text()
    assert [rule for rule in rules if rule not in page] == []


def test_every_fault_has_its_line_in_the_table_of_faults() -> None:
    told = re.findall(r"^\| \[?`([a-z-]+)`(?:\]\([a-z.-]+\))? \|", (ROOT / "docs/faults.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(FAULTS)


def test_every_outcome_of_a_request_has_its_line() -> None:
    told = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs/load-http.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(OUTCOMES)
    named = "".join(path.read_text() for path in SOURCES if path.name.startswith("http_"))
    assert [one for one in OUTCOMES if f'"{one}"' not in named] == []


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_validation_in_the_readme_is_one_that_can_be_read(tmp_path: Path) -> None:
    from harness.model.validation import load_validations

    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```yaml\n(apiVersion.*?)```", text, re.DOTALL)
    path = ROOT / "slos" / "vector_search.yaml"
    (tmp_path / "stack.yaml").write_text("")
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/vector_search.py").write_text("")
    (tmp_path / "vector_search.openslo.yaml").write_text("")
    (tmp_path / "readme.yaml").write_text(block)
    (read,) = load_validations(tmp_path / "readme.yaml")
    (ours,) = load_validations(path)
    assert read.as_dict()["thresholds"] == ours.as_dict()["thresholds"]
    assert read.load == ours.load


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_grows_past_what_one_can_hold_in_mind(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500
