"""What is wrong with a text as YAML is refused at its place, whatever it is: nothing ends in a traceback or a hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.model.source import load_documents
from harness.model.yaml_reader import MAX_DEPTH, read_yaml
from tests.mutations import alias_bomb


def refused(directory: Path, raw: bytes) -> UsageError:
    path = directory / "bad.yaml"
    path.write_bytes(raw)
    with pytest.raises(UsageError) as caught:
        load_documents(path)
    return caught.value


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("a: 1\nb: 2026-13-40\n", (2, 4), "this is no timestamp: month must be in 1..12"),
        ("a: !!int x\n", (1, 4), "this is no int"),
        ("a: " + "9" * 5000 + "\n", (1, 4), "this is no int"),
        ("a: 1\nb: x\0y\n", (2, 5), "U+0000 is not allowed"),
        ("\ufeffa: 1\r\nb: [\r\n", (3, 1), "while parsing a flow node"),
        ("a: 1\rb: 2\rb: 3\r", (3, 1), "duplicate key"),
        ("# this ends a comment\u2028and no line\na: 1\n", (2, 2), "mapping values are not allowed"),
        ("a: &a {b: [*a]}\n", (1, 12), "'a' holds itself"),
        ("a: &a\n  <<: *a\n", (2, 7), "'a' holds itself"),
        ("a: *b\n", (1, 4), "undefined alias"),
        ("a: " + "[" * 100_000, (1, 4 + MAX_DEPTH), "more than 50 brackets within each other"),
        ('a: "\\ud83d"\n', (1, 4), "this is no str"),
        ("- " * 100_000, (1, 1 + 2 * MAX_DEPTH), "maximum depth"),
        (alias_bomb(12, 10, mapping=True), (6, 14), "more than 50,000 parts, aliases written out"),
        (alias_bomb(40, 2, mapping=False), (14, 18), "more than 50,000 parts, aliases written out"),
    ],
)  # fmt: skip
def test_it_is_refused_where_it_stands(tmp_path: Path, text: str, place: tuple[int, int], said: str) -> None:
    error = refused(tmp_path, text.encode())
    assert error.slug == "yaml-syntax"
    assert error.location is not None
    line, column = place
    assert (error.location.line, error.location.column) == (line, column or error.location.column), error.render()
    assert said in error.cause
    assert len(error.render()) < 1_500


@pytest.mark.parametrize("raw", [b"", b"\n", b"---\n", b"# a\n", b"null\n", b"---\n---\n"])
def test_a_file_without_a_document_is_empty(tmp_path: Path, raw: bytes) -> None:
    assert refused(tmp_path, raw).slug == "file-empty"


def test_what_is_no_utf8_is_told_with_its_byte(tmp_path: Path) -> None:
    error = refused(tmp_path, b"a: \xff\n")
    assert (error.slug, "not UTF-8 at byte 3" in error.cause) == ("file-unreadable", True)


def test_aliases_and_merge_keys_of_an_honest_size_are_read_and_located(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(
        "base: &base {rate: 1, users: 2}\nload:\n  <<: *base\n  rate: 3\nsame: *base\n---\nnull\n---\nx: 1\n"
    )
    first, second = load_documents(path)
    assert first.data["load"] == {"rate": 3, "users": 2}
    assert first.data["same"] == {"rate": 1, "users": 2}
    assert second.data == {"x": 1}
    places = [first.locate(("load", name)) for name in ("rate", "users")]
    assert [(place.line, place.column) for place in places] == [(4, 9), (1, 30)]


def test_an_anchor_may_be_given_twice() -> None:
    ((_, data),) = read_yaml("a: &x 1\nb: *x\nc: &x 2\nd: *x\n")
    assert data == {"a": 1, "b": 1, "c": 2, "d": 2}
