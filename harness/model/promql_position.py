"""Where in a query the mistake is, and where in the YAML file that is; the parser itself names no position."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import promql_parser

from harness.core.errors import Location

TOKEN = re.compile(
    r"""\#[^\n]*                                             # comment
      | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | `[^`]*` # string
      | \d[\w.]*                                            # number or duration
      | [A-Za-z_:][\w:]*                                    # name
      | =~ | !~ | [!=<>]= | [^\s]""",
    re.VERBOSE,
)
_MAX_TOKENS = 150  # beyond, the search costs more than the caret is worth
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# What may follow a prefix so that it becomes a query: inside the innermost bracket, then after all are closed.
_INNER = {
    "{": ("", 'a="b"', '="b"', '"b"'),
    "[": ("", "5m", "5m]", ":5m", ":"),
    "": (
        "",
        "x",
        "[5m]",
        "x[5m]",
        "(x)",
        "(a) (x)",
        "(a) x",
        "5m",
        "1",
        ",x",
        ",x[5m]",
        ",1,1",
        "a",
        *(before + ",".join(['"a"'] * count) for count in range(1, 5) for before in ("", ",")),
    ),
}
_OUTER = ("", "(x)", " x")


def error_position(text: str) -> int | None:
    """Offset of the first token of `text` that cannot stand where it stands; len(text) when only the end is missing.

    It is the token after the longest prefix that something can complete to a query. None for very long queries.
    """
    tokens = [token for token in TOKEN.finditer(text) if not token[0].startswith("#")]
    if len(tokens) > _MAX_TOKENS:
        return None
    for count in range(len(tokens), 0, -1):
        if _completable(text[: tokens[count - 1].end()], [token[0] for token in tokens[:count]]):
            return tokens[count].start() if count < len(tokens) else len(text.rstrip())
    return tokens[0].start() if tokens else 0


def _completable(prefix: str, tokens: list[str]) -> bool:
    open_: list[str] = []
    for token in tokens:
        if token in _CLOSING:
            open_.append(token)
        elif open_ and token == _CLOSING[open_[-1]]:
            open_.pop()
    inner = _INNER.get(open_[-1] if open_ else "", _INNER[""])
    gap = "" if open_ and open_[-1] == "[" else " "
    closers = "".join(_CLOSING[bracket] for bracket in reversed(open_))
    # A selector inside `rate(` needs its range after the brace has closed.
    between = ("", "[5m]") if open_ and open_[-1] == "{" else ("",)
    for fill in inner:
        for extra in between:
            closed = closers[:1] + extra + closers[1:] if extra else closers
            for outer in _OUTER:
                if _parses(f"{prefix}{gap}{fill}{closed}{outer}"):
                    return True
    return False


def _parses(text: str) -> bool:
    try:
        promql_parser.parse(text)
    except (ValueError, RecursionError):
        return False
    return True


def place(lines: Sequence[str], value: Location, text: str, offset: int, width: int) -> Location:
    """The place of `text[offset]` in the file of `lines`, for a scalar at `value`; `value` itself when it cannot tell.

    A scalar and its value hold the same visible characters in the same order, whatever the style: so they are walked
    side by side, leaving white space out.
    """
    wanted = sum(1 for character in text[:offset] if not character.isspace())
    at_end = not text[offset:].strip()
    visible = [character for character in text if not character.isspace()]
    last: tuple[int, int] | None = None
    for at, (line, column, character) in enumerate(_visible(lines, value)):
        if at_end and at == wanted and last is not None:
            break
        if at >= len(visible) or character != visible[at]:
            return value
        last = (line, column)
        if at == wanted:
            row = lines[line]
            return Location(value.path, line + 1, column + 1, row, max(1, min(width, len(row) - column)))
    if not at_end or last is None:
        return value
    return Location(value.path, last[0] + 1, last[1] + 2, lines[last[0]], 1)


def _visible(lines: Sequence[str], value: Location) -> Iterator[tuple[int, int, str]]:
    """(line, column, character) of each visible character of the scalar that begins at `value`, counted from 0."""
    line, column = value.line - 1, value.column - 1
    style = lines[line][column : column + 1] if line < len(lines) else ""
    if style in ("|", ">"):
        line, column = line + 1, 0
    elif style in ("'", '"'):
        column += 1
    while line < len(lines):
        row = lines[line]
        while column < len(row):
            character = row[column]
            if style == '"' and character == "\\":
                column += 1
                if row[column : column + 1] in ("n", "t", ""):  # an escaped white space or line end
                    column += 1
                    continue
                character = row[column]
            elif style == "'" and row[column : column + 2] == "''":
                column += 1
            elif character == style and style in ("'", '"'):
                return
            if not character.isspace():
                yield line, column, character
            column += 1
        line, column = line + 1, 0
