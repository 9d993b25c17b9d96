"""Collection of documentation strings from a small tree of sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.docstrings import MAX_CHARACTERS, Docstring, bag_of_terms, collect, read_docstrings, source_files

LONG = "Return every matching record of the given table, in the order in which the records were written to it."


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "pack/__init__.py": f'"""{LONG} Package."""\n',
        "pack/mod.py": f"""
class Outer:
    '''{LONG} Class of the module.'''
    if True:
        def method(self):
            '''{LONG} Method below a condition.'''
    async def wait(self):
        '''Too short.'''
try:
    import nothing
except ImportError:
    def fallback():
        '''{LONG} Function in a handler.'''
def same():
    '''{LONG} class of   the MODULE'''
boom = 1 / 0  # parsed, never run
""",
        "pack/tests/test_mod.py": f'"""{LONG} A test suite."""\n',
        "pack/broken.py": f'"""{LONG} Does not parse."""\ndef (:\n',
        "pack/data.txt": f'"""{LONG} Not Python."""\n',
        "site-packages/other.py": f'"""{LONG} Belongs to another root."""\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_names_and_texts_of_everything_documented(tree: Path) -> None:
    found = list(collect([tree], processes=1))
    assert {one.title for one in found} == {"pack", "pack.mod.Outer", "pack.mod.Outer.method", "pack.mod.fallback"}
    by_title = {one.title: one for one in found}
    assert by_title["pack.mod.Outer.method"] == Docstring(
        "pack.mod", "pack.mod.Outer.method", f"{LONG} Method below a condition."
    )


def test_the_order_is_the_same_for_any_number_of_processes(tree: Path) -> None:
    assert list(collect([tree], processes=1)) == list(collect([tree], processes=2))


def test_files_come_in_an_order_that_says_nothing_about_their_names(tree: Path) -> None:
    for number in range(20):
        (tree / f"m{number:02}.py").write_text("")
    modules = [module for _, module in source_files([tree])]
    assert "pack.tests.test_mod" not in modules and "other" not in modules
    assert sorted(modules) != modules
    assert modules == [module for _, module in source_files([tree, tree])]


def test_long_texts_are_cut_between_words(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(f'"""{"word " * 1_000}"""')
    (one,) = read_docstrings((path, "m"))
    assert len(one.text) <= MAX_CHARACTERS and one.text.endswith("word")


def test_a_trivial_text_has_no_bag_and_word_order_makes_no_difference() -> None:
    assert bag_of_terms("Return the value.") == ""
    assert bag_of_terms("x " * 100) == ""
    assert bag_of_terms(LONG) == bag_of_terms(" ".join(reversed(LONG.upper().rstrip(".").split())))
