"""Documents that somebody's fingers, editor or malice has been at: text, structure and the file as a whole."""

from __future__ import annotations

import copy
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.core.errors import UsageError

WITHOUT_A_PLACE = ("file-unreadable", "file-empty")  # there is no line to point at
SPLICES = (
    "*a", "&a ", "<<: *x", "[", "}", "- ", ": ", "|", "null", "1e999", ".nan", "{}", "[]", "!!binary x", "\t", "'", '"',
    "2026-13-40", "\u2028", "\U0001f600", "\x00", "\x85", "%", "@", "`", "? ", "!!python/object:x ", "!!int x", "!x ",
    "#", "---\n", "...\n", "9" * 30, "-1", "\u00a0", "\ufeff", "\u202e", "0x1F", "1_000", "1:30:00",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**63, 10**400, 1e308, float("inf"), float("nan"), 0.5, "", " ", "0", "x", "1e400",
    "9" * 5000, [], [[]], {}, {"": None}, {"x": {"y": []}}, [1, "2", None], "\x00", "\ud7ff\U0001f4a9", "a\x00b",
    "99999999999999999999y", "9" * 400 + "s", "0s", "-5s", "1.5.5s", "p(99)<" + "9" * 400 + "ms", "rate<1%",
    "p(99.99999999999999999999)<1ms", "p(0.0000001)<1s", "../../etc/passwd", "/", "a" * 300, "$window", "sum(",
    "(" * 300, 'up{a=~"("}',
)  # fmt: skip


def block(data: Any, indent: int = 0) -> Iterator[str]:
    """`data` as lines of block-style YAML; keys and scalars as JSON writes them."""
    pad = " " * indent
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _entry(f"{pad}{_scalar(key)}:", value, indent)
    elif isinstance(data, list) and data:
        for value in data:
            yield from _entry(f"{pad}-", value, indent)
    else:
        yield pad + _scalar(data)


def _entry(head: str, value: Any, indent: int) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from block(value, indent + 2)
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return ".nan" if value != value else ".inf"
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value, default=str)


def _parts(data: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key or index) of every part."""
    for key in list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield data, key
        yield from _parts(data[key])


def _restructured(documents: list[Any], dice: random.Random) -> str:
    """One to three parts deleted, replaced, renamed, doubled, wrapped or moved."""
    documents = copy.deepcopy(documents)
    for _ in range(dice.randint(1, 3)):
        parts = list(_parts(documents))
        if not parts:
            break
        where, key = dice.choice(parts)
        match dice.randrange(6):
            case 0:
                del where[key]
            case 1:
                where[key] = copy.deepcopy(dice.choice(VALUES))
            case 2 if isinstance(where, dict):
                where[dice.choice((f"{key}s", str(key).upper(), str(key)[:-1], "", 7, True, None))] = where.pop(key)
            case 3:
                where[key] = [where[key]] * 2 if dice.random() < 0.5 else {"x": where[key]}
            case 4:
                other, its = dice.choice(parts)
                where[key] = copy.deepcopy(other[its])
            case _:
                where[key] = str(where[key])
    return "\n---\n".join("\n".join(block(one)) for one in documents) + "\n"


def _respelled(text: str, dice: random.Random) -> str:
    """One to three lines deleted, doubled, moved, indented, or with something cut out of them or put into them."""
    lines = text.splitlines(keepends=True)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(lines))
        line = lines[at]
        where = dice.randrange(len(line) + 1)
        match dice.randrange(8):
            case 0:
                del lines[at]
                lines = lines or ["\n"]
            case 1:
                lines.insert(at, dice.choice(lines))
            case 2:
                lines[at] = dice.choice((" ", "  ", "    ", "\t")) + line
            case 3:
                lines[at] = line[:where] + dice.choice(SPLICES) + line[where:]
            case 4:
                if words := list(re.finditer(r"[\w.$-]+", line)):
                    word = dice.choice(words)
                    lines[at] = line[: word.start()] + dice.choice(SPLICES) + line[word.end() :]
            case 5:
                lines[at] = line[:where] + line[where + 1 :]
            case 6:
                lines[at] = line.lstrip(" ")
            case 7:
                other = dice.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
    return "".join(lines)


def alias_bomb(levels: int, each: int, *, mapping: bool) -> str:
    """Aliases of aliases: `each` to the power of `levels` parts when they are written out."""
    lines = ["b0: &b0 " + ("{k: lol}" if mapping else "[lol, lol]")]
    for level in range(1, levels):
        inner = ", ".join(f"k{n}: *b{level - 1}" if mapping else f"*b{level - 1}" for n in range(each))
        lines.append(f"b{level}: &b{level} " + (f"{{{inner}}}" if mapping else f"[{inner}]"))
    return "\n".join(lines) + "\n"


def _value_replaced(text: str, dice: random.Random, value: str) -> str:
    """The value of one `key: value` line replaced by `value` as it is written."""
    lines = text.splitlines(keepends=True)
    able = [at for at, line in enumerate(lines) if re.match(r"\s*(- )?[\w.-]+: \S", line)]
    at = dice.choice(able)
    lines[at] = lines[at][: lines[at].index(": ") + 2] + value + "\n"
    return "".join(lines)


def _bombed(text: str, dice: random.Random) -> str:
    levels = dice.choice((3, 12, 40))
    bomb = alias_bomb(levels, dice.choice((2, 10)), mapping=dice.random() < 0.5)
    return bomb + _value_replaced(text, dice, f"*b{levels - 1}")


def _deep(text: str, dice: random.Random) -> str:
    depth = dice.choice((30, 300, 3_000, 30_000))
    opened, closed = dice.choice((("[", "]"), ("{a: ", "}"), ("- ", "")))
    if closed:
        return _value_replaced(text, dice, opened * depth + "x" + closed * dice.choice((0, depth)))
    return _value_replaced(text, dice, "\n" + " " * 12 + opened * depth + "x")


def _itself(text: str, dice: random.Random) -> str:
    return _value_replaced(text, dice, dice.choice(("&me [*me]", "&me {a: *me}", "&me {<<: *me}", "&me {*me : 1}")))


def _merged(text: str, dice: random.Random) -> str:
    merged = (
        "{<<: *m}",
        "{<<: [*m, *m], a: 1}",
        "{<<: 7}",
        "{<<: [1]}",
        "{<<: *none}",
        "{? {a: 1} : 2}",
        "{? [a] : 2}",
    )
    anchored = dice.choice(("{a: 1, a: 2}", "{a: 1}", "[1]", "7"))
    return f"m: &m {anchored}\n" + _value_replaced(text, dice, dice.choice(merged))


EMPTY = (b"", b"\n", b"---\n", b"# nothing\n", b"---\n---\n", b"\x00", b"null\n", b"%YAML 9.9\n")
FILES: tuple[Callable[[str, random.Random], str | bytes], ...] = (
    lambda text, dice: text.replace("\n", "\r\n"),
    lambda text, dice: "\ufeff" * dice.randint(1, 2) + text,
    lambda text, dice: text.encode("utf-16"),
    lambda text, dice: text.encode()[: dice.randrange(len(text))] + b"\xff\xfe" + text.encode()[-40:],
    lambda text, dice: dice.choice(EMPTY),
    lambda text, dice: text[: dice.randrange(len(text))],
    lambda text, dice: text + "---\n" + text,
    lambda text, dice: text + "---\n" + dice.choice(("7", "[]", "{}", "text", "null", "- a", "a: b")) + "\n",
    lambda text, dice: text.replace("\n", dice.choice(("\r", "\x85", "\u2029", "\t\n", "\n\n\n"))),
    lambda text, dice: text.replace("  ", "\t"),
    lambda text, dice: _value_replaced(text, dice, dice.choice("xé\U0001f600") * dice.choice((1_000, 30_000))),
    lambda text, dice: _value_replaced(text, dice, "[" + "x, " * dice.choice((100, 3_000)) + "]"),
    lambda text, dice: "%TAG ! tag:x,2000:\n---\n" + text,
    _bombed,
    _deep,
    _itself,
    _merged,
)  # fmt: skip


@dataclass(frozen=True)
class Seed:
    """A document that is right, as text and as data."""

    text: str
    documents: list[Any]

    @classmethod
    def read(cls, text: str) -> Seed:
        return cls(text, list(YAML(typ="safe", pure=True).load_all(text)))


def mutations(seeds: Iterable[str], number: int, seed: int) -> Iterator[bytes]:
    """`number` mutated files; the same seed gives the same files."""
    dice, chosen = random.Random(seed), [Seed.read(text) for text in seeds]
    for _ in range(number):
        one = dice.choice(chosen)
        made: str | bytes
        match dice.randrange(10):
            case 0 | 1 | 2 | 3:
                made = _restructured(one.documents, dice)
            case 4 | 5 | 6 | 7:
                made = _respelled(one.text, dice)
            case 8:
                made = dice.choice(FILES)(one.text, dice)
            case _:
                made = _respelled(_restructured(one.documents, dice), dice)
        yield made.encode("utf-8", "surrogatepass") if isinstance(made, str) else made


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a file. slug: '' when it was accepted; unlocated: why its location is none, or ''."""

    slug: str
    unlocated: str
    seconds: float
    message: str


def answer_to(path: Path, load: Callable[[Path], object]) -> Answer:
    """`load` the file; whatever else than a UsageError it raises passes through."""
    began = time.perf_counter()
    try:
        load(path)
    except UsageError as error:
        seconds = time.perf_counter() - began
        return Answer(error.slug, _unlocated(error, path), seconds, error.render())
    return Answer("", "", time.perf_counter() - began, "")


def _unlocated(error: UsageError, path: Path) -> str:
    if not (error.cause and error.remedy):
        return "no cause or no remedy"
    if (where := error.location) is None:
        return "" if error.slug in WITHOUT_A_PLACE else "no location"
    if where.path.name != path.name:
        return f"another file, {where.path.name}"
    lines = re.split("\r\n|\r|\n", path.read_bytes().decode("utf-8-sig"))
    if not 1 <= where.line <= len(lines):
        return f"line {where.line} of {len(lines)}"
    length = len(lines[where.line - 1])
    if not 1 <= where.column <= length + 1:
        return f"column {where.column} of {length} in line {where.line}"
    return "" if where.text == lines[where.line - 1] else "the text shown is another line's"
