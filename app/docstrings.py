"""Documentation strings of the standard library and the installed packages, parsed, never imported."""

from __future__ import annotations

import ast
import gc
import hashlib
import inspect
import multiprocessing
import os
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.embedding import tokenise

MAX_CHARACTERS = 1_000
MIN_CHARACTERS = 60
MIN_TERMS = 8
# Test suites describe fixtures rather than the library, and are half of the sources to parse.
_SKIPPED_PARTS = frozenset({"test", "tests", "testing", "idle_test", "site-packages", "dist-packages", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Docstring:
    """One documentation string: `source` the module's dotted name, `title` the full name of what it documents."""

    source: str
    title: str
    text: str


def installed_roots() -> tuple[Path, ...]:
    """The standard library and the site directories of the running interpreter, without doubles."""
    paths = sysconfig.get_paths()
    found = (Path(paths[name]).resolve() for name in ("stdlib", "purelib", "platlib"))
    return tuple(dict.fromkeys(path for path in found if path.is_dir()))


def source_files(roots: Sequence[Path]) -> list[tuple[Path, str]]:
    """(file, dotted module name) below `roots`, ordered by a hash of the name: any prefix is a fair sample."""
    modules: dict[str, Path] = {}
    for root in roots:
        for directory, children, names in os.walk(root):
            children[:] = sorted(set(children) - _SKIPPED_PARTS)
            for name in names:
                if name.endswith(".py"):
                    path = Path(directory, name)
                    modules.setdefault(_module_name(path.relative_to(root)), path)
    by_hash = sorted(modules, key=lambda module: hashlib.sha256(module.encode()).digest())
    return [(modules[module], module) for module in by_hash]


def read_docstrings(file: tuple[Path, str]) -> list[Docstring]:
    """The documentation strings of one source file in order of appearance; none where Python cannot parse it."""
    path, module = file
    try:
        source = path.read_bytes()
    except OSError:
        return []
    if b'"""' not in source and b"'''" not in source:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escapes
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return []
    return list(_walk(tree, module, module))


def collect(roots: Sequence[Path], processes: int = 2) -> Iterator[Docstring]:
    """Distinct documentation strings that say something, in one order for one installation, lazily.

    Two texts with the same bag of terms count as one, since no embedding of terms could tell them apart.
    """
    seen: set[str] = set()
    context = multiprocessing.get_context("spawn" if os.name == "nt" else "fork")
    with context.Pool(processes, initializer=gc.disable) as pool:  # trees are short-lived and many
        for found in pool.imap(read_docstrings, source_files(roots), chunksize=16):
            for docstring in found:
                key = bag_of_terms(docstring.text)
                if key and key not in seen:
                    seen.add(key)
                    yield docstring


def bag_of_terms(text: str) -> str:
    """The text's terms, sorted, as one string; empty when it is trivially short."""
    terms = tokenise(text)
    return " ".join(sorted(terms)) if len(terms) >= MIN_TERMS and len(text) >= MIN_CHARACTERS else ""


def _module_name(relative: Path) -> str:
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _walk(node: ast.AST, module: str, name: str) -> Iterator[Docstring]:
    """Descends through statements only: expressions hold no documentation, and are most of a tree."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node, clean=False)
        if text:
            yield Docstring(source=module, title=name, text=_cut(inspect.cleandoc(text)))
    for child in _statements(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _walk(child, module, f"{name}.{child.name}")
        else:
            yield from _walk(child, module, name)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for field in ("body", "orelse", "handlers", "finalbody"):
        children = getattr(node, field, None)
        if isinstance(children, list):
            yield from (child for child in children if isinstance(child, ast.stmt | ast.ExceptHandler))


def _cut(text: str) -> str:
    text = text.replace("\x00", " ").encode("utf-8", "replace").decode("utf-8")
    if len(text) <= MAX_CHARACTERS:
        return text
    head = text[:MAX_CHARACTERS]
    return head[: head.rfind(" ")] if " " in head[MAX_CHARACTERS // 2 :] else head
